// Where buffers lie in one block of memory, given when each is live: offline interval packing.

/** A block of bytes that is live from instruction `start` to instruction `end`, both included. */
export interface Interval {
  readonly bytes: number;
  readonly start: number;
  readonly end: number;
}

export interface Placement {
  /** Of each interval, in the order given. */
  readonly offsets: readonly number[];
  readonly bytes: number;
}

/** A cache line, and the widest vector. */
export const alignment = 64;
export const align = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

/**
 * Greedy placement: one buffer after another, each into the tightest gap between those that are live with it. It is
 * tried with the largest first, with the largest area (bytes × time) first and in order of time, until one needs no more
 * than the lower bound; the smallest wins. Offsets are multiples of 64.
 */
export function place(intervals: readonly Interval[]): Placement {
  const span = ({ start, end }: Interval): number => end - start + 1;
  const orders: ((a: Interval, b: Interval) => number)[] = [
    (a, b) => b.bytes - a.bytes || span(b) - span(a) || a.start - b.start,
    (a, b) => b.bytes * span(b) - a.bytes * span(a) || a.start - b.start,
    (a, b) => a.start - b.start || b.bytes - a.bytes,
  ];
  const least = lowerBound(intervals);
  let best: Placement | undefined;
  for (const order of orders) {
    const next = placeInOrder(intervals, order);
    if (best === undefined || next.bytes < best.bytes) best = next;
    if (best.bytes === least) break;
  }
  return best!;
}

function placeInOrder(intervals: readonly Interval[], order: (a: Interval, b: Interval) => number): Placement {
  const sequence = intervals.map((_, i) => i).sort((a, b) => order(intervals[a]!, intervals[b]!) || a - b);
  const offsets: number[] = new Array(intervals.length).fill(0);
  const placed = new PlacedIntervals(intervals.length);
  let total = 0;
  for (const index of sequence) {
    const { bytes, start, end } = intervals[index]!;
    const needed = align(bytes);
    const offset = placed.tightestGap(needed, start, end);
    placed.add(offset, needed, start, end);
    offsets[index] = offset;
    total = Math.max(total, offset + needed);
  }
  return { offsets, bytes: total };
}

/** What is placed, by ascending offset, in columns that a scan runs through fast. */
class PlacedIntervals {
  readonly #offsets: Float64Array;
  readonly #limits: Float64Array;
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  #count = 0;

  constructor(capacity: number) {
    this.#offsets = new Float64Array(capacity);
    this.#limits = new Float64Array(capacity);
    this.#starts = new Int32Array(capacity);
    this.#ends = new Int32Array(capacity);
  }

  add(offset: number, bytes: number, start: number, end: number): void {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#offsets[middle]! > offset) high = middle;
      else low = middle + 1;
    }
    for (const column of [this.#offsets, this.#limits, this.#starts, this.#ends]) {
      column.copyWithin(low + 1, low, this.#count);
    }
    this.#offsets[low] = offset;
    this.#limits[low] = offset + bytes;
    this.#starts[low] = start;
    this.#ends[low] = end;
    this.#count++;
  }

  /** The offset of the smallest gap of `needed` bytes between the intervals live in that time; behind them if none is. */
  tightestGap(needed: number, start: number, end: number): number {
    const [offsets, limits, starts, ends] = [this.#offsets, this.#limits, this.#starts, this.#ends];
    let free = 0;
    let best = -1;
    let bestGap = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.#count; i++) {
      if (ends[i]! < start || starts[i]! > end) continue;
      const gap = offsets[i]! - free;
      if (gap >= needed && gap < bestGap) {
        best = free;
        bestGap = gap;
      }
      if (limits[i]! > free) free = limits[i]!;
    }
    return best >= 0 ? best : free;
  }
}

/** The least that any placement needs: the largest sum of bytes live at one instruction. */
export function lowerBound(intervals: readonly Interval[]): number {
  if (intervals.length === 0) return 0;
  const first = intervals.reduce((least, { start }) => Math.min(least, start), 0);
  const last = intervals.reduce((most, { end }) => Math.max(most, end), 0);
  const changes = new Float64Array(last - first + 2);
  for (const { bytes, start, end } of intervals) {
    changes[start - first]! += align(bytes);
    changes[end - first + 1]! -= align(bytes);
  }
  let live = 0;
  let most = 0;
  for (const change of changes) {
    live += change;
    most = Math.max(most, live);
  }
  return most;
}
