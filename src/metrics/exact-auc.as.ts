// The exact AUC: positives and negatives are sorted apart by the bits of their scores (radix sort), then one walk over both
// counts for every positive the negatives below it, ties half. Also the log of scores that an evaluation gathers.

// State of a run: u32 positives, negatives, scores that are NaN, labels that are not 0 or 1; f32 first weight, u32 weights vary.
const POSITIVES: usize = 0;
const NEGATIVES: usize = 4;
const NANS: usize = 8;
const BAD_LABELS: usize = 12;
const FIRST_WEIGHT: usize = 16;
const WEIGHTS_VARY: usize = 20;

const RADIX_BITS: u32 = 11;
const BUCKETS: usize = 2048;

/** Bits that sort as unsigned integers like the floats do; -0 and 0 are one score. */
// @ts-ignore: decorator
@inline
function sortable(score: f32): u32 {
  let bits = reinterpret<u32>(score);
  if (bits == 0x80000000) bits = 0;
  return bits ^ (<u32>((<i32>bits) >> 31) | 0x80000000);
}

/** Notes whether the weights above 0 differ from each other. */
export function inspectWeights(state: usize, weights: usize, n: i32): void {
  let first = load<f32>(state + FIRST_WEIGHT);
  for (let i = 0; i < n; i++) {
    const w = load<f32>(weights + ((<usize>i) << 2));
    if (!(w > 0)) continue;
    if (first == 0) first = w;
    else if (w != first) {
      store<u32>(state + WEIGHTS_VARY, 1);
      break;
    }
  }
  store<f32>(state + FIRST_WEIGHT, first);
}

// An item is the key alone (u32), or key << 32 | bits of the weight (u64).
// @ts-ignore: decorator
@inline
function keyOf<T>(item: T): u32 {
  return sizeof<T>() == 8 ? <u32>((<u64>item) >> 32) : <u32>item;
}

/** Writes positives from the front of `items` and negatives from its back, behind those of earlier calls. */
// @ts-ignore: decorator
@inline
function partition<T>(state: usize, scores: usize, labels: usize, weights: usize, n: i32, items: usize, capacity: i32): void {
  let front = items + <usize>load<u32>(state + POSITIVES) * sizeof<T>();
  let back = items + (<usize>capacity - <usize>load<u32>(state + NEGATIVES)) * sizeof<T>();
  const frontStart = front;
  const backStart = back;
  let nans: u32 = 0;
  let badLabels: u32 = 0;
  for (let i = 0; i < n; i++) {
    const at = (<usize>i) << 2;
    const w = weights != 0 ? load<f32>(weights + at) : <f32>1;
    if (!(w > 0)) continue;
    const score = load<f32>(scores + at);
    const label = load<f32>(labels + at);
    if (score != score) nans += 1;
    let item: T;
    if (sizeof<T>() == 8) item = <T>(((<u64>sortable(score)) << 32) | <u64>reinterpret<u32>(w));
    else item = <T>sortable(score);
    if (label == 1) {
      store<T>(front, item);
      front += sizeof<T>();
    } else {
      if (label != 0) badLabels += 1;
      back -= sizeof<T>();
      store<T>(back, item);
    }
  }
  store<u32>(state + POSITIVES, load<u32>(state + POSITIVES) + <u32>((front - frontStart) / sizeof<T>()));
  store<u32>(state + NEGATIVES, load<u32>(state + NEGATIVES) + <u32>((backStart - back) / sizeof<T>()));
  store<u32>(state + NANS, load<u32>(state + NANS) + nans);
  store<u32>(state + BAD_LABELS, load<u32>(state + BAD_LABELS) + badLabels);
}

export function partitionKeys(s: usize, x: usize, y: usize, w: usize, n: i32, items: usize, capacity: i32): void {
  partition<u32>(s, x, y, w, n, items, capacity);
}

export function partitionWeighted(s: usize, x: usize, y: usize, w: usize, n: i32, items: usize, capacity: i32): void {
  partition<u64>(s, x, y, w, n, items, capacity);
}

/** Radix sort by key, three digits; `counts` holds 3 × 2048 u32. Gives where the sorted items lie: `items` or `scratch`. */
// @ts-ignore: decorator
@inline
function sort<T>(items: usize, scratch: usize, n: i32, counts: usize): usize {
  const bytes = <usize>n * sizeof<T>();
  memory.fill(counts, 0, 3 * BUCKETS * 4);
  for (let at: usize = 0; at < bytes; at += sizeof<T>()) {
    const key = keyOf<T>(load<T>(items + at));
    for (let digit: u32 = 0; digit < 3; digit++) {
      const slot = counts + (<usize>digit * BUCKETS + <usize>((key >> (digit * RADIX_BITS)) & (<u32>BUCKETS - 1))) * 4;
      store<u32>(slot, load<u32>(slot) + 1);
    }
  }
  let from = items;
  let to = scratch;
  for (let digit: u32 = 0; digit < 3; digit++) {
    const table = counts + <usize>digit * BUCKETS * 4;
    let start: u32 = 0;
    let largest: u32 = 0;
    for (let bucket: usize = 0; bucket < BUCKETS; bucket++) {
      const count = load<u32>(table + bucket * 4);
      store<u32>(table + bucket * 4, start);
      start += count;
      largest = max(largest, count);
    }
    if (largest == <u32>n) continue;
    const shift = digit * RADIX_BITS;
    for (let at: usize = 0; at < bytes; at += sizeof<T>()) {
      const item = load<T>(from + at);
      const slot = table + <usize>((keyOf<T>(item) >> shift) & (<u32>BUCKETS - 1)) * 4;
      const place = load<u32>(slot);
      store<u32>(slot, place + 1);
      store<T>(to + <usize>place * sizeof<T>(), item);
    }
    const other = from;
    from = to;
    to = other;
  }
  return from;
}

/** `sort`; whether the sorted items lie in `scratch`. */
export function sortKeys(items: usize, scratch: usize, n: i32, counts: usize): bool {
  return sort<u32>(items, scratch, n, counts) == scratch;
}

export function sortWeighted(items: usize, scratch: usize, n: i32, counts: usize): bool {
  return sort<u64>(items, scratch, n, counts) == scratch;
}

// @ts-ignore: decorator
@inline
function weightOf<T>(item: T): f64 {
  return sizeof<T>() == 8 ? <f64>reinterpret<f32>(<u32>item) : 1;
}

/** The AUC of sorted positives and negatives. */
// @ts-ignore: decorator
@inline
function area<T>(positives: usize, positiveCount: i32, negatives: usize, negativeCount: i32): f64 {
  const positiveEnd = positives + <usize>positiveCount * sizeof<T>();
  const negativeEnd = negatives + <usize>negativeCount * sizeof<T>();
  let below: f64 = 0;
  let sum: f64 = 0;
  let positiveWeight: f64 = 0;
  let n = negatives;
  let p = positives;
  while (p < positiveEnd) {
    const key = keyOf<T>(load<T>(p));
    let group: f64 = 0;
    while (p < positiveEnd && keyOf<T>(load<T>(p)) == key) {
      group += weightOf<T>(load<T>(p));
      p += sizeof<T>();
    }
    while (n < negativeEnd && keyOf<T>(load<T>(n)) < key) {
      below += weightOf<T>(load<T>(n));
      n += sizeof<T>();
    }
    let tied: f64 = 0;
    while (n < negativeEnd && keyOf<T>(load<T>(n)) == key) {
      tied += weightOf<T>(load<T>(n));
      n += sizeof<T>();
    }
    sum += group * (below + 0.5 * tied);
    below += tied;
    positiveWeight += group;
  }
  while (n < negativeEnd) {
    below += weightOf<T>(load<T>(n));
    n += sizeof<T>();
  }
  return sum / (positiveWeight * below);
}

export function areaKeys(positives: usize, positiveCount: i32, negatives: usize, negativeCount: i32): f64 {
  return area<u32>(positives, positiveCount, negatives, negativeCount);
}

export function areaWeighted(positives: usize, positiveCount: i32, negatives: usize, negativeCount: i32): f64 {
  return area<u64>(positives, positiveCount, negatives, negativeCount);
}

/**
 * Copies rows of weight above 0 to the end of a block (u32 next / 64, u32 used, at 64: f32 scores [capacity], labels, weights),
 * from row `from` on until the block is full. Gives the first row not taken.
 */
export function append(block: usize, capacity: i32, scores: usize, labels: usize, weights: usize, from: i32, n: i32): i32 {
  let used = <i32>load<u32>(block + 4);
  const column = (<usize>capacity) << 2;
  let i = from;
  for (; i < n && used < capacity; i++) {
    const at = (<usize>i) << 2;
    const w = weights != 0 ? load<f32>(weights + at) : <f32>1;
    if (!(w > 0)) continue;
    const to = block + 64 + ((<usize>used) << 2);
    store<f32>(to, load<f32>(scores + at));
    store<f32>(to + column, load<f32>(labels + at));
    store<f32>(to + column * 2, w);
    used += 1;
  }
  store<u32>(block + 4, used);
  return i;
}
