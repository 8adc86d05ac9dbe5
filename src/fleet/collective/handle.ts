// How trainer threads reach the other ranks: plain data, and what a thread makes of it.
// Trainer threads load no more than they need: the rest of the folder brings transports.
import { CallQueue, type Ticket } from "../../collective/call-queue.ts";
import type { Communication } from "../../engine/index.ts";
import type { Heap } from "../../memory/index.ts";
import { Wish } from "../control.ts";
import { Dgc, type DgcHandle } from "./dgc.ts";
import { RowExchange, type RowExchangeHandle } from "./row-exchange.ts";
import { clock, Kind, Timeline } from "./timeline.ts";

/** A collective that is ready to be started. */
export interface NamedCall {
  /** Which of the queues it goes to, and its number there. */
  readonly stream: number;
  readonly id: number;
  /** What this rank sends with it. */
  readonly bytes: number;
  /** It carries the gradients of the step that starts it: none where nobody has rows. */
  readonly gradients?: boolean;
}

export interface ExchangeHandle {
  /** This rank, from 0. */
  readonly rank: number;
  /** Addresses of the queues of communication threads; none where the job has one rank. */
  readonly queues: readonly number[];
  /** By the name that instructions have. */
  readonly calls: Readonly<Record<string, NamedCall>>;
  /** Address of a word for each call, and one for the tally: the ticket of its last start. */
  readonly tickets: number;
  /** What ranks bring to a step: a sum over the ranks of the numbers at this address. */
  readonly tally: NamedCall & { readonly address: number };
  /** Whether all sums must be there before one of them is applied, so that a death leaves no rank with half a step. */
  readonly settles?: boolean;
  /** Address of the `Timeline`. */
  readonly timeline: number;
  /** What losses are divided by: the rows of a batch. */
  readonly batch: number;
  /** Where long gradients are compressed. */
  readonly dgc?: DgcHandle;
  /** By name of the bucket: gradients of which ranks send each other rows. */
  readonly rows: Readonly<Record<string, RowExchangeHandle>>;
}

/** Numbers of a tally, in their order. */
export const TALLY = { rows: 0, weight: 1, pauses: 2, stops: 3, lossSum: 4, lossWeight: 5 } as const;
export const TALLY_NUMBERS = 16;

/** The ticket of a call that was not started. */
const NONE = 0;

/** @param notes whether this thread notes what it waits for: the first one */
export function attachCommunication(heap: Heap, handle: ExchangeHandle, notes = true): Communication {
  const { rank, queues, calls, tickets, timeline: address } = handle;
  const all = queues.map((address) => new CallQueue(heap, address));
  const names = Object.keys(calls);
  const timeline = notes ? new Timeline(heap, address) : undefined;
  const words = heap.i32(tickets, names.length + 1);
  const numbers = heap.f32(handle.tally.address, TALLY_NUMBERS);
  const meeting = all[handle.tally.stream];
  const dgc = handle.dgc && new Dgc(heap, handle.dgc);
  const touched = new Map(
    Object.entries(handle.rows).map(([name, rows]): [string, RowExchange] => [name, new RowExchange(heap, rows)]),
  );
  const of = (name: string): NamedCall & { index: number; queue: CallQueue | undefined } => {
    const call = calls[name];
    if (call === undefined) throw new Error(`no collective was made ready for "${name}"`);
    return { ...call, index: names.indexOf(name), queue: all[call.stream] };
  };
  /** Whether nobody has rows for the step, which then is none. */
  const isOver = (): boolean => {
    const ticket = words[names.length]!;
    if (!meeting!.isDone(ticket)) {
      const start = clock();
      meeting!.wait(ticket);
      timeline?.add(Kind.wait, names.length, start, clock());
    }
    return numbers[TALLY.rows] === 0;
  };
  return {
    rank,
    start(name) {
      const { index, queue, id, bytes, gradients = false } = of(name);
      if (queue === undefined) return () => {};
      const compressed = dgc?.bucket(name);
      const rows = touched.get(name);
      return () => {
        if (gradients && isOver()) {
          words[index] = NONE;
          return;
        }
        const stage = compressed === undefined ? -1 : dgc!.stage;
        if (stage < 0) {
          rows?.pack();
          words[index] = queue.start(id);
          timeline?.addSent(bytes);
          return;
        }
        dgc!.compress(compressed!, stage, numbers[TALLY.weight]!);
        words[index] = queue.start(compressed!.gathers[stage]!);
        timeline?.addSent(compressed!.messageBytes[stage]! * (handle.dgc!.ranks - 1));
      };
    },
    wait(name) {
      const { index, queue } = of(name);
      if (queue === undefined) return () => {};
      const compressed = dgc?.bucket(name);
      const rows = touched.get(name);
      return () => {
        if (words[index] === NONE) return;
        waitTimed(queue, words[index]!, index, timeline);
        rows?.unpack();
        if (compressed === undefined) return;
        const { stage } = dgc!;
        if (stage >= 0) dgc!.restore(compressed, stage, numbers[TALLY.weight]!);
      };
    },
  };
}

/** Waits for a call, and notes when it began and ended and how long that made this thread wait. */
function waitTimed(queue: CallQueue, ticket: Ticket, index: number, timeline: Timeline | undefined): void {
  const start = clock();
  queue.wait(ticket);
  if (timeline === undefined) return;
  timeline.add(Kind.wait, index, start, clock());
  timeline.add(Kind.wire, index, queue.beganAt(ticket), queue.endedAt(ticket));
}

/** What a step's ranks bring together; used by the first trainer thread. */
export class Tally {
  readonly #queue: CallQueue | undefined;
  readonly #id: number;
  readonly #numbers: Float32Array;
  readonly #tickets: Int32Array;
  /** The tally's place among the tickets. */
  readonly #place: number;
  readonly #timeline: Timeline;
  readonly #started: readonly { readonly queue: CallQueue; readonly place: number }[];

  constructor(heap: Heap, { queues, calls, tickets, tally, timeline }: ExchangeHandle) {
    this.#timeline = new Timeline(heap, timeline);
    const all = queues.map((address) => new CallQueue(heap, address));
    this.#queue = all[tally.stream];
    this.#place = Object.keys(calls).length;
    this.#started = Object.values(calls).flatMap(({ stream }, place) => {
      const queue = all[stream];
      return queue === undefined ? [] : [{ queue, place }];
    });
    this.#tickets = heap.i32(tickets, this.#place + 1);
    this.#id = tally.id;
    this.#numbers = heap.f32(tally.address, TALLY_NUMBERS);
  }

  /** @param asked what this rank asks all for: a sum of `Wish`es */
  begin(rows: number, weight: number, asked: number): void {
    this.#numbers[TALLY.rows] = rows;
    this.#numbers[TALLY.weight] = weight;
    this.#numbers[TALLY.pauses] = asked & Wish.pause;
    this.#numbers[TALLY.stops] = asked & Wish.stop;
    if (this.#queue !== undefined) this.#tickets[this.#place] = this.#queue.start(this.#id);
  }

  /** What the rows of the last batch have lost, and what they weigh; before `begin`. */
  bringLoss(sum: number, weight: number): void {
    this.#numbers[TALLY.lossSum] = sum;
    this.#numbers[TALLY.lossWeight] = weight;
  }

  /** Waits for what all bring. */
  end(): void {
    if (this.#queue === undefined) return;
    waitTimed(this.#queue, this.#tickets[this.#place]!, this.#place, this.#timeline);
  }

  /** Waits for all that was started. */
  settle(): void {
    for (const { queue, place } of this.#started) queue.wait(this.#tickets[place]!);
  }

  get rows(): number {
    return this.#numbers[TALLY.rows]!;
  }

  get weight(): number {
    return this.#numbers[TALLY.weight]!;
  }

  /** The mean loss of the last batches. */
  get loss(): number {
    return this.#numbers[TALLY.lossSum]! / this.#numbers[TALLY.lossWeight]!;
  }

  get pauses(): number {
    return this.#numbers[TALLY.pauses]!;
  }

  get stops(): number {
    return this.#numbers[TALLY.stops]!;
  }
}
