// What an algorithm is: plain data. For one rank of a group, the steps that it takes; an executor carries them out over any
// transport, and tests count and simulate them without one.

/** Elements [start, start + count) of a buffer. */
export interface Range {
  readonly start: number;
  readonly count: number;
}

/** `data` is the buffer of the call; `output` a second one, which only all-to-all has. */
export type BufferName = "data" | "output";

export interface Send extends Range {
  readonly peer: number;
}

export interface Receive extends Range {
  readonly peer: number;
  /** Whether what comes is reduced into the buffer; else it takes the place of what is there. */
  readonly reduce: boolean;
}

/**
 * What a rank does at once: it starts all sends (always from `data`), then takes all receives in their order, then finishes
 * ranges. The next step begins when the receives are there; sends may still be under way.
 */
export interface Step {
  readonly sends: readonly Send[];
  readonly receives: readonly Receive[];
  /** Ranges whose reduction is complete here and nowhere else: they are scaled for a mean and rounded as the wire rounds. */
  readonly finish?: readonly Range[];
  /** Ranges of `data` that go to `output` of the same rank. */
  readonly copies?: readonly (Range & { readonly to: number })[];
}

export interface Schedule {
  /** Where receives go. */
  readonly into: BufferName;
  readonly steps: readonly Step[];
}

/** What an algorithm is asked for. */
export interface ScheduleRequest {
  readonly rank: number;
  readonly size: number;
  /** Elements of `data`. */
  readonly count: number;
  /** The most elements of a message: longer ranges go as several, so that sending, receiving and reducing overlap. */
  readonly segment: number;
}

/** The part of `range` that belongs to member `index` of `parts`: as even as whole elements allow. */
export function partOf(range: Range, parts: number, index: number): Range {
  const from = Math.floor((range.count * index) / parts);
  return { start: range.start + from, count: Math.floor((range.count * (index + 1)) / parts) - from };
}

/** The pieces of at most `segment` elements of a range; none of an empty range. */
export function segments({ start, count }: Range, segment: number): Range[] {
  return Array.from({ length: Math.ceil(count / segment) }, (_, i) => ({
    start: start + i * segment,
    count: Math.min(segment, count - i * segment),
  }));
}

/** Steps in which a range goes to one peer while another comes from one, segment by segment; either may be missing. */
export function exchange(
  send: (Range & { readonly peer: number }) | undefined,
  receive: Receive | undefined,
  segment: number,
): Step[] {
  const outgoing = send === undefined ? [] : segments(send, segment);
  const incoming = receive === undefined ? [] : segments(receive, segment);
  return Array.from({ length: Math.max(outgoing.length, incoming.length) }, (_, i) => ({
    sends: i < outgoing.length ? [{ ...outgoing[i]!, peer: send!.peer }] : [],
    receives: i < incoming.length ? [{ ...incoming[i]!, peer: receive!.peer, reduce: receive!.reduce }] : [],
  }));
}

/** The step that finishes a range; it sends and receives nothing. */
export const finishing = (range: Range): Step => ({ sends: [], receives: [], finish: [range] });

/** Remainder that is never negative. */
export const modulo = (value: number, size: number): number => ((value % size) + size) % size;
