// What a worker does with the rows of a batch: it numbers the distinct ids, lays pulled rows out where gathers read them,
// packs summed gradients, and adds those of several batches up by id.
import { mix64 } from "../../table/random.as";

const FIRST: u32 = 0x80000000;

/**
 * Finds the distinct ids of `ids` u64 [n] and appends them to `unique`, of which `count` are there already; returns the new
 * count. Occurrence i gets `first` + number · `step` as handle u32, id 0 the `zero` handle. `map` is a scratch of (mask + 1)
 * pairs (id, number + 1) of 16 bytes, cleared before the first call.
 */
export function handles(
  ids: usize, n: u32, map: usize, mask: u32, unique: usize, count: u32, first: u32, step: u32, zero: u32, out: usize,
): u32 {
  for (const end = ids + (<usize>n << 3); ids < end; ids += 8, out += 4) {
    const id = load<u64>(ids);
    if (id == 0) {
      store<u32>(out, zero);
      continue;
    }
    const entry = find(map, mask, id);
    const fresh = load<u64>(entry) == 0;
    const number = select<u32>(count, load<u32>(entry, 8), fresh);
    store<u64>(entry, id);
    store<u32>(entry, number, 8);
    store<u64>(unique + (<usize>count << 3), id);
    count += u32(fresh);
    store<u32>(out, first + number * step);
  }
  return count;
}

/** As `handles` for ids that are distinct and not 0: words for `accumulate` of row-gradients.as.ts. */
export function numbers(ids: usize, n: u32, map: usize, mask: u32, unique: usize, count: u32, out: usize): u32 {
  for (const end = ids + (<usize>n << 3); ids < end; ids += 8, out += 4) {
    const id = load<u64>(ids);
    const entry = find(map, mask, id);
    const fresh = load<u64>(entry) == 0;
    const number = select<u32>(count | FIRST, load<u32>(entry, 8), fresh);
    store<u64>(entry, id);
    store<u32>(entry, number & ~FIRST, 8);
    store<u64>(unique + (<usize>count << 3), id);
    count += u32(fresh);
    store<u32>(out, number);
  }
  return count;
}

// @ts-ignore: decorator
@inline
function find(map: usize, mask: u32, id: u64): usize {
  let place = <u32>mix64(id) & mask;
  let entry = map + (<usize>place << 4);
  let found = load<u64>(entry);
  while (i32(found != 0) & i32(found != id)) {
    place = (place + 1) & mask;
    entry = map + (<usize>place << 4);
    found = load<u64>(entry);
  }
  return entry;
}

/** Zeros: several times as fast as a fill by JavaScript in shared memory. */
export function clear(at: usize, bytes: usize): void {
  memory.fill(at, 0, bytes);
}

/** Ids of handles: out[i] = ids[(handles[i] − first) / step]. */
export function idsOf(handles: usize, n: u32, first: u32, step: u32, ids: usize, out: usize): void {
  for (const end = handles + (<usize>n << 2); handles < end; handles += 4, out += 8) {
    store<u64>(out, load<u64>(ids + (<usize>((load<u32>(handles) - first) / step) << 3)));
  }
}

/** Copies `bytes` of each of `n` rows, a multiple of 2: rows `fromStride` apart to rows `toStride` apart. */
export function copyRows(from: usize, fromStride: usize, n: u32, bytes: usize, to: usize, toStride: usize): void {
  for (; n > 0; n--, from += fromStride, to += toStride) copy(to, from, bytes);
}

/** Copies `bytes` of each of `n` rows `fromStride` apart to row order[i], `toStride` apart. */
export function spreadRows(
  from: usize, fromStride: usize, order: usize, n: u32, bytes: usize, to: usize, toStride: usize,
): void {
  for (const end = order + (<usize>n << 2); order < end; order += 4, from += fromStride) {
    copy(to + <usize>load<u32>(order) * toStride, from, bytes);
  }
}

// @ts-ignore: decorator
@inline
function copy(to: usize, from: usize, bytes: usize): void {
  let left = bytes;
  for (; left >= 16; left -= 16, to += 16, from += 16) v128.store(to, v128.load(from));
  for (; left >= 4; left -= 4, to += 4, from += 4) store<u32>(to, load<u32>(from));
  for (; left > 0; left -= 2, to += 2, from += 2) store<u16>(to, load<u16>(from));
}

/** Handles whose row of `bytes` (a multiple of 4) is all zeros become the `zero` handle. */
export function blankZeros(handles: usize, n: u32, bytes: usize, zero: u32): void {
  for (const end = handles + (<usize>n << 2); handles < end; handles += 4) {
    let row = <usize>load<u32>(handles) << 4;
    let bits: u32 = 0;
    for (const rowEnd = row + bytes; row < rowEnd; row += 4) bits |= load<u32>(row);
    // −0 is 0 too.
    if ((bits & 0x7fffffff) == 0) store<u32>(handles, zero);
  }
}

/** sums[i] += values[i] · factor */
export function addScaled(sums: usize, values: usize, n: u32, factor: f32): void {
  const f = f32x4.splat(factor);
  let left = n;
  for (; left >= 4; left -= 4, sums += 16, values += 16) {
    v128.store(sums, f32x4.add(v128.load(sums), f32x4.mul(v128.load(values), f)));
  }
  for (; left > 0; left--, sums += 4, values += 4) store<f32>(sums, load<f32>(sums) + load<f32>(values) * factor);
}

/** Geo-SGD, what is sent: delta[i] = (local[i] − old[i]) · share; old[i] += delta[i]. */
export function takeDelta(local: usize, old: usize, n: u32, share: f32, delta: usize): void {
  const s = f32x4.splat(share);
  let left = n;
  for (; left >= 4; left -= 4, local += 16, old += 16, delta += 16) {
    const before = v128.load(old);
    const change = f32x4.mul(f32x4.sub(v128.load(local), before), s);
    v128.store(delta, change);
    v128.store(old, f32x4.add(before, change));
  }
  for (; left > 0; left--, local += 4, old += 4, delta += 4) {
    const change = (load<f32>(local) - load<f32>(old)) * share;
    store<f32>(delta, change);
    store<f32>(old, load<f32>(old) + change);
  }
}

/**
 * Geo-SGD, what is received: local[i] += fresh[i] − old[i]; old[i] = fresh[i]. Where nothing is new nothing is written: a
 * trainer may be moving the weight.
 */
export function putFresh(fresh: usize, old: usize, n: u32, local: usize): void {
  let left = n;
  for (; left >= 4; left -= 4, local += 16, old += 16, fresh += 16) {
    const value = v128.load(fresh);
    const before = v128.load(old);
    if (!v128.any_true(f32x4.ne(value, before))) continue;
    v128.store(local, f32x4.add(v128.load(local), f32x4.sub(value, before)));
    v128.store(old, value);
  }
  for (; left > 0; left--, local += 4, old += 4, fresh += 4) {
    const value = load<f32>(fresh);
    if (value == load<f32>(old)) continue;
    store<f32>(local, load<f32>(local) + (value - load<f32>(old)));
    store<f32>(old, value);
  }
}

/** `takeDelta` for rows by handle: the weights at `offset`, the old ones at `oldOffset`; deltas `stride` apart. */
export function takeRowDeltas(
  handles: usize, n: u32, offset: usize, oldOffset: usize, dim: u32, share: f32, out: usize, stride: usize,
): void {
  for (const end = handles + (<usize>n << 2); handles < end; handles += 4, out += stride) {
    const row = <usize>load<u32>(handles) << 4;
    takeDelta(row + offset, row + oldOffset, dim, share, out);
  }
}

/** `putFresh` for rows by handle; fresh values `stride` apart. */
export function putFreshRows(
  handles: usize, n: u32, offset: usize, oldOffset: usize, dim: u32, fresh: usize, stride: usize,
): void {
  for (const end = handles + (<usize>n << 2); handles < end; handles += 4, fresh += stride) {
    const row = <usize>load<u32>(handles) << 4;
    putFresh(fresh, row + oldOffset, dim, row + offset);
  }
}
