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
 * tried with the largest first, with the largest area (bytes × time) first and in order of time; the smallest wins.
 * Offsets are multiples of 64.
 */
export function place(intervals: readonly Interval[]): Placement {
  const span = ({ start, end }: Interval): number => end - start + 1;
  const orders: ((a: Interval, b: Interval) => number)[] = [
    (a, b) => b.bytes - a.bytes || span(b) - span(a) || a.start - b.start,
    (a, b) => b.bytes * span(b) - a.bytes * span(a) || a.start - b.start,
    (a, b) => a.start - b.start || b.bytes - a.bytes,
  ];
  const placements = orders.map((order) => placeInOrder(intervals, order));
  return placements.reduce((best, next) => (next.bytes < best.bytes ? next : best));
}

function placeInOrder(intervals: readonly Interval[], order: (a: Interval, b: Interval) => number): Placement {
  const sequence = intervals.map((_, i) => i).sort((a, b) => order(intervals[a]!, intervals[b]!) || a - b);
  const offsets: number[] = new Array(intervals.length).fill(0);
  /** Placed intervals by ascending offset. */
  const placed: number[] = [];
  let total = 0;
  for (const index of sequence) {
    const interval = intervals[index]!;
    const offset = tightestGap(interval, intervals, offsets, placed);
    offsets[index] = offset;
    total = Math.max(total, offset + align(interval.bytes));
    const after = placed.findIndex((other) => offsets[other]! > offset);
    placed.splice(after < 0 ? placed.length : after, 0, index);
  }
  return { offsets, bytes: total };
}

function tightestGap(
  interval: Interval,
  intervals: readonly Interval[],
  offsets: readonly number[],
  placed: readonly number[],
): number {
  const needed = align(interval.bytes);
  let free = 0;
  let best = -1;
  let bestGap = Number.POSITIVE_INFINITY;
  for (const other of placed) {
    const { bytes, start, end } = intervals[other]!;
    if (end < interval.start || start > interval.end) continue;
    const gap = offsets[other]! - free;
    if (gap >= needed && gap < bestGap) {
      best = free;
      bestGap = gap;
    }
    free = Math.max(free, offsets[other]! + align(bytes));
  }
  return best >= 0 ? best : free;
}

/** The least that any placement needs: the largest sum of bytes live at one instruction. */
export function lowerBound(intervals: readonly Interval[]): number {
  const changes = new Map<number, number>();
  for (const { bytes, start, end } of intervals) {
    changes.set(start, (changes.get(start) ?? 0) + align(bytes));
    changes.set(end + 1, (changes.get(end + 1) ?? 0) - align(bytes));
  }
  let live = 0;
  let most = 0;
  for (const [, change] of [...changes].sort(([a], [b]) => a - b)) {
    live += change;
    most = Math.max(most, live);
  }
  return most;
}
