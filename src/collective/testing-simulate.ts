// For tests: all ranks of a schedule in one thread, on plain numbers, without a transport. Messages between two ranks keep
// their order; whoever waits for one that never comes is named.
import type { Schedule } from "./schedule.ts";

export interface Counted {
  /** Steps in which something is sent or received. */
  readonly steps: number;
  readonly sent: number;
  readonly received: number;
  readonly messages: number;
}

export interface Simulated {
  readonly data: readonly (readonly number[])[];
  readonly output: readonly (readonly number[])[];
  readonly counted: readonly Counted[];
}

interface Message {
  readonly start: number;
  readonly values: readonly number[];
}

/** @param scale what finishing multiplies by */
export function simulate(schedules: readonly Schedule[], inputs: readonly (readonly number[])[], scale = 1): Simulated {
  const size = schedules.length;
  const data = inputs.map((input) => [...input]);
  const output = inputs.map((input) => input.map(() => Number.NaN));
  const wires = new Map<string, Message[]>();
  const wire = (from: number, to: number): Message[] => {
    const key = `${from}>${to}`;
    if (!wires.has(key)) wires.set(key, []);
    return wires.get(key)!;
  };
  const at = schedules.map(() => ({ step: 0, receive: 0, sent: false }));
  const advance = (rank: number): boolean => {
    const place = at[rank]!;
    const step = schedules[rank]!.steps[place.step];
    if (step === undefined) return false;
    let moved = false;
    if (!place.sent) {
      for (const { peer, start, count } of step.sends) {
        wire(rank, peer).push({ start, values: data[rank]!.slice(start, start + count) });
      }
      place.sent = moved = true;
    }
    for (; place.receive < step.receives.length; place.receive++) {
      const { peer, start, count, reduce } = step.receives[place.receive]!;
      const message = wire(peer, rank).shift();
      if (message === undefined) return moved;
      moved = true;
      if (message.values.length !== count) {
        throw new Error(`rank ${rank} wants ${count} elements of rank ${peer}, which sent ${message.values.length}`);
      }
      const target = schedules[rank]!.into === "data" ? data[rank]! : output[rank]!;
      for (const [i, value] of message.values.entries())
        target[start + i] = reduce ? target[start + i]! + value : value;
    }
    for (const { start, count, to } of step.copies ?? []) {
      for (let i = 0; i < count; i++) output[rank]![to + i] = data[rank]![start + i]!;
    }
    for (const { start, count } of step.finish ?? []) {
      for (let i = start; i < start + count; i++) data[rank]![i]! *= scale;
    }
    Object.assign(place, { step: place.step + 1, receive: 0, sent: false });
    return true;
  };
  while (schedules.map((_, rank) => advance(rank)).some(Boolean));
  for (const [rank, { step, receive }] of at.entries()) {
    const waits = schedules[rank]!.steps[step]?.receives[receive];
    if (waits !== undefined) throw new Error(`rank ${rank} waits for rank ${waits.peer} in step ${step} for ever`);
  }
  for (const [key, left] of wires) if (left.length > 0) throw new Error(`${left.length} messages ${key} nobody takes`);
  return { data, output, counted: schedules.map((schedule) => count(schedule)) };

  function count({ steps }: Schedule): Counted {
    const sends = steps.flatMap((step) => step.sends);
    const receives = steps.flatMap((step) => step.receives);
    if ([...sends, ...receives].some(({ peer }) => peer < 0 || peer >= size)) throw new Error("a peer is no rank");
    return {
      steps: steps.filter((step) => step.sends.length + step.receives.length > 0).length,
      sent: sends.reduce((sum, send) => sum + send.count, 0),
      received: receives.reduce((sum, receive) => sum + receive.count, 0),
      messages: sends.length,
    };
  }
}
