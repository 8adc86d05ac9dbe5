// Gradients of which a batch touches few rows, the arithmetic: the touched rows side by side, and their sum over the ranks.

/**
 * Copies rows of x to `values` and their numbers to `list`: those of the ids, each once. Ids of no row are passed over.
 * @param stamps a word for each row, below `turn`. Returns how many rows these are.
 */
export function takeRows(
  x: usize, rows: u32, width: usize, ids: usize, count: usize, stamps: usize, turn: u32, list: usize, values: usize,
): usize {
  const bytes = width << 2;
  let taken: usize = 0;
  for (let i: usize = 0; i < count; i++) {
    const id = load<u32>(ids + (i << 2));
    if (id >= rows) continue;
    const stamp = stamps + (<usize>id << 2);
    if (load<u32>(stamp) == turn) continue;
    store<u32>(stamp, turn);
    store<u32>(list + (taken << 2), id);
    memory.copy(values + taken * bytes, x + <usize>id * bytes, bytes);
    taken++;
  }
  return taken;
}

/** Makes the rows of a list 0. */
export function clearRows(x: usize, width: usize, list: usize, count: usize): void {
  const bytes = width << 2;
  for (let i: usize = 0; i < count; i++) memory.fill(x + <usize>load<u32>(list + (i << 2)) * bytes, 0, bytes);
}

/** Adds rows to those of a list. Returns 0, or 1 where one lies outside of x. */
export function addRows(x: usize, rows: u32, width: usize, list: usize, count: usize, values: usize): i32 {
  const bytes = width << 2;
  for (let i: usize = 0; i < count; i++) {
    const id = load<u32>(list + (i << 2));
    if (id >= rows) return 1;
    let to = x + <usize>id * bytes;
    const end = to + bytes;
    const wide = to + ((width & ~3) << 2);
    for (; to < wide; to += 16, values += 16) v128.store(to, f32x4.add(v128.load(to), v128.load(values)));
    for (; to < end; to += 4, values += 4) store<f32>(to, load<f32>(to) + load<f32>(values));
  }
  return 0;
}
