// variants: relaxed
// Products in which one side is a vector: limited by memory, so nothing is packed and each matrix is read once.
import { activate } from "./activation.as";
import { madd } from "./gemm-tile.as";

// @ts-ignore: decorator
@inline
function sum4(x: v128): f32 {
  const y = f32x4.add(x, v128.shuffle<f32>(x, x, 2, 3, 0, 1));
  return f32x4.extract_lane(y, 0) + f32x4.extract_lane(y, 1);
}

/** y[i] (+)= Σ_k A[i, k]·x[k]: four rows at a time, so that x is loaded once for them. */
export function dotRows(rows: i32, k: i32, a: usize, x: usize, y: usize, accumulate: bool): void {
  const stride = <usize>k << 2;
  const end = <usize>(k & ~3) << 2;
  const all = <usize>k << 2;
  let i = 0;
  for (; i + 4 <= rows; i += 4) {
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    const a1 = a + stride, a2 = a1 + stride, a3 = a2 + stride;
    let o: usize = 0;
    for (; o < end; o += 16) {
      const v = v128.load(x + o);
      s0 = madd(v128.load(a + o), v, s0);
      s1 = madd(v128.load(a1 + o), v, s1);
      s2 = madd(v128.load(a2 + o), v, s2);
      s3 = madd(v128.load(a3 + o), v, s3);
    }
    // Four horizontal sums at once by a transpose.
    const t0 = f32x4.add(v128.shuffle<f32>(s0, s1, 0, 4, 1, 5), v128.shuffle<f32>(s0, s1, 2, 6, 3, 7));
    const t1 = f32x4.add(v128.shuffle<f32>(s2, s3, 0, 4, 1, 5), v128.shuffle<f32>(s2, s3, 2, 6, 3, 7));
    let s = f32x4.add(v128.shuffle<f32>(t0, t1, 0, 1, 4, 5), v128.shuffle<f32>(t0, t1, 2, 3, 6, 7));
    for (; o < all; o += 4) {
      let column = f32x4.splat(load<f32>(a + o));
      column = f32x4.replace_lane(column, 1, load<f32>(a1 + o));
      column = f32x4.replace_lane(column, 2, load<f32>(a2 + o));
      column = f32x4.replace_lane(column, 3, load<f32>(a3 + o));
      s = madd(column, v128.load_splat<f32>(x + o), s);
    }
    if (accumulate) s = f32x4.add(s, v128.load(y));
    v128.store(y, s);
    a = a3 + stride;
    y += 16;
  }
  for (; i < rows; i++) {
    let s = f32x4.splat(0);
    let o: usize = 0;
    for (; o < end; o += 16) s = madd(v128.load(a + o), v128.load(x + o), s);
    let sum = sum4(s);
    for (; o < all; o += 4) sum += load<f32>(a + o) * load<f32>(x + o);
    store<f32>(y, accumulate ? load<f32>(y) + sum : sum);
    a += stride;
    y += 4;
  }
}

/** y[j] (+)= Σ_k x[k]·A[k, j]: four rows of A for each pass over y, which stays in L1. */
export function sumRows(n: i32, k: i32, a: usize, x: usize, y: usize, accumulate: bool): void {
  const all = <usize>n << 2;
  const end = <usize>(n & ~3) << 2;
  if (!accumulate) memory.fill(y, 0, all);
  let i = 0;
  for (; i + 4 <= k; i += 4) {
    const x0 = v128.load_splat<f32>(x), x1 = v128.load_splat<f32>(x, 4);
    const x2 = v128.load_splat<f32>(x, 8), x3 = v128.load_splat<f32>(x, 12);
    const a1 = a + all, a2 = a1 + all, a3 = a2 + all;
    let o: usize = 0;
    for (; o < end; o += 16) {
      const s = madd(x1, v128.load(a1 + o), madd(x0, v128.load(a + o), v128.load(y + o)));
      v128.store(y + o, madd(x3, v128.load(a3 + o), madd(x2, v128.load(a2 + o), s)));
    }
    for (; o < all; o += 4) {
      const s = load<f32>(x) * load<f32>(a + o) + load<f32>(x, 4) * load<f32>(a1 + o);
      store<f32>(y + o, load<f32>(y + o) + s + load<f32>(x, 8) * load<f32>(a2 + o) + load<f32>(x, 12) * load<f32>(a3 + o));
    }
    a = a3 + all;
    x += 16;
  }
  for (; i < k; i++) {
    const x0 = v128.load_splat<f32>(x);
    let o: usize = 0;
    for (; o < end; o += 16) v128.store(y + o, madd(x0, v128.load(a + o), v128.load(y + o)));
    for (; o < all; o += 4) store<f32>(y + o, load<f32>(y + o) + load<f32>(x) * load<f32>(a + o));
    a += all;
    x += 4;
  }
}

/** C[i, j] (+)= x[i]·y[j]: the gradient of a layer with one output. */
export function outer(m: i32, n: i32, x: usize, y: usize, c: usize, accumulate: bool): void {
  const all = <usize>n << 2;
  const end = <usize>(n & ~3) << 2;
  for (let i = 0; i < m; i++) {
    const xi = v128.load_splat<f32>(x);
    let o: usize = 0;
    if (accumulate) {
      for (; o < end; o += 16) v128.store(c + o, madd(xi, v128.load(y + o), v128.load(c + o)));
      for (; o < all; o += 4) store<f32>(c + o, load<f32>(c + o) + load<f32>(x) * load<f32>(y + o));
    } else {
      for (; o < end; o += 16) v128.store(c + o, f32x4.mul(xi, v128.load(y + o)));
      for (; o < all; o += 4) store<f32>(c + o, load<f32>(x) * load<f32>(y + o));
    }
    x += 4;
    c += all;
  }
}

/** C = act(C + bias) after the fact, over m rows of n numbers. */
export function finish(m: i32, n: i32, c: usize, bias: usize, activation: i32): void {
  const all = <usize>n << 2;
  const end = <usize>(n & ~3) << 2;
  if (bias) {
    let row = c;
    for (let i = 0; i < m; i++) {
      let o: usize = 0;
      for (; o < end; o += 16) v128.store(row + o, f32x4.add(v128.load(row + o), v128.load(bias + o)));
      for (; o < all; o += 4) store<f32>(row + o, load<f32>(row + o) + load<f32>(bias + o));
      row += all;
    }
  }
  activate(<usize>m * <usize>n, c, activation);
}
