// Reading and writing the rows of a sparse table in batches. A row handle is the row's address / 16; `offset` is that of
// a field's weights (or of a slot) in the row. Dimensions that CTR models use have loops of their own; any other works.

// @ts-ignore: decorator
@inline
function rowAt(rows: usize, offset: usize): usize {
  return (<usize>load<u32>(rows) << 4) + offset;
}

/** Rows [n] to out [n, dim], out rows `stride` bytes apart. */
export function gather(rows: usize, n: u32, offset: usize, dim: u32, out: usize, stride: usize): void {
  const end = rows + (<usize>n << 2);
  if (dim == 1) {
    for (; rows < end; rows += 4, out += stride) store<f32>(out, load<f32>(rowAt(rows, offset)));
  } else if (dim == 4) {
    for (; rows < end; rows += 4, out += stride) v128.store(out, v128.load(rowAt(rows, offset)));
  } else if (dim == 8) {
    for (; rows < end; rows += 4, out += stride) copy8(out, rowAt(rows, offset));
  } else if (dim == 16) {
    for (; rows < end; rows += 4, out += stride) copy16(out, rowAt(rows, offset));
  } else if (dim == 32) {
    for (; rows < end; rows += 4, out += stride) {
      const row = rowAt(rows, offset);
      copy16(out, row);
      copy16(out + 64, row + 64);
    }
  } else {
    for (; rows < end; rows += 4, out += stride) copyAny(out, rowAt(rows, offset), dim);
  }
}

/** The inverse of gather: values [n, dim] into rows [n]. */
export function put(rows: usize, n: u32, offset: usize, dim: u32, values: usize, stride: usize): void {
  for (const end = rows + (<usize>n << 2); rows < end; rows += 4, values += stride) copyAny(rowAt(rows, offset), values, dim);
}

// @ts-ignore: decorator
@inline
function copy8(to: usize, from: usize): void {
  const a = v128.load(from);
  const b = v128.load(from, 16);
  v128.store(to, a);
  v128.store(to, b, 16);
}

// @ts-ignore: decorator
@inline
function copy16(to: usize, from: usize): void {
  const a = v128.load(from);
  const b = v128.load(from, 16);
  const c = v128.load(from, 32);
  const d = v128.load(from, 48);
  v128.store(to, a);
  v128.store(to, b, 16);
  v128.store(to, c, 32);
  v128.store(to, d, 48);
}

// @ts-ignore: decorator
@inline
function copyAny(to: usize, from: usize, dim: u32): void {
  let left = dim;
  for (; left >= 4; left -= 4, to += 16, from += 16) v128.store(to, v128.load(from));
  for (; left > 0; left--, to += 4, from += 4) store<f32>(to, load<f32>(from));
}

/** Rows [n, length] to out [n, dim]: the sum over each bag, or its mean over rows other than the zero row. */
export function gatherPool(
  rows: usize, n: u32, length: u32, offset: usize, dim: u32, out: usize, stride: usize, mean: bool, zeroRow: u32,
): void {
  const bag = <usize>length << 2;
  for (; n > 0; n--, rows += bag, out += stride) {
    const scale = mean ? meanScale(rows, bag, zeroRow) : <f32>1;
    if (dim == 16) pool16(rows, bag, offset, out, scale);
    else if (dim == 1) pool1(rows, bag, offset, out, scale);
    else {
      let column: u32 = 0;
      for (; column + 16 <= dim; column += 16) pool16(rows, bag, offset + (column << 2), out + (column << 2), scale);
      for (; column + 4 <= dim; column += 4) pool4(rows, bag, offset + (column << 2), out + (column << 2), scale);
      for (; column < dim; column++) pool1(rows, bag, offset + (column << 2), out + (column << 2), scale);
    }
  }
}

/** 1 / (how many rows are not the zero row); 1 for an empty bag, whose sum is 0. */
function meanScale(rows: usize, bag: usize, zeroRow: u32): f32 {
  let count = 0;
  for (const end = rows + bag; rows < end; rows += 4) count += i32(load<u32>(rows) != zeroRow);
  return <f32>1 / <f32>max(count, 1);
}

// @ts-ignore: decorator
@inline
function pool1(rows: usize, bag: usize, offset: usize, out: usize, scale: f32): void {
  let sum: f32 = 0;
  for (const end = rows + bag; rows < end; rows += 4) sum += load<f32>(rowAt(rows, offset));
  store<f32>(out, sum * scale);
}

// @ts-ignore: decorator
@inline
function pool4(rows: usize, bag: usize, offset: usize, out: usize, scale: f32): void {
  let sum = f32x4.splat(0);
  for (const end = rows + bag; rows < end; rows += 4) sum = f32x4.add(sum, v128.load(rowAt(rows, offset)));
  v128.store(out, f32x4.mul(sum, f32x4.splat(scale)));
}

// @ts-ignore: decorator
@inline
function pool16(rows: usize, bag: usize, offset: usize, out: usize, scale: f32): void {
  let a = f32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  for (const end = rows + bag; rows < end; rows += 4) {
    const row = rowAt(rows, offset);
    a = f32x4.add(a, v128.load(row));
    b = f32x4.add(b, v128.load(row, 16));
    c = f32x4.add(c, v128.load(row, 32));
    d = f32x4.add(d, v128.load(row, 48));
  }
  const s = f32x4.splat(scale);
  v128.store(out, f32x4.mul(a, s));
  v128.store(out, f32x4.mul(b, s), 16);
  v128.store(out, f32x4.mul(c, s), 32);
  v128.store(out, f32x4.mul(d, s), 48);
}

/** Copies the keys other than 0 out of a slab's `n` key places; returns how many. */
export function collectKeys(places: usize, n: u32, out: usize): u32 {
  const start = out;
  for (const end = places + (<usize>n << 3); places < end; places += 8) {
    const key = atomic.load<u64>(places);
    if (key == 0) continue;
    store<u64>(out, key);
    out += 8;
  }
  return <u32>((out - start) >> 3);
}
