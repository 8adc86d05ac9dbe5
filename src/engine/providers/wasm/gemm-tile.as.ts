// library
// The register tile of the matrix product: MR rows × 8 columns of C stay in registers while k runs.

// 15 vector registers are free: 6 × 8 fits with a fused multiply-add; mul and add need one more for the product.
export const MR: i32 = isDefined(RELAXED) ? 6 : 5;
export const NR: i32 = 8;
export const PANEL_A: usize = <usize>MR << 2;
export const PANEL_B: usize = <usize>NR << 2;

// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  return isDefined(RELAXED) ? f32x4.relaxed_madd(a, b, c) : f32x4.add(c, f32x4.mul(a, b));
}

// @ts-ignore: decorator
@inline
function finishRow(x: v128, y: v128, c: usize, accumulate: bool, bias0: v128, bias1: v128, floor: v128): void {
  if (accumulate) {
    x = f32x4.add(x, v128.load(c));
    y = f32x4.add(y, v128.load(c, 16));
  }
  v128.store(c, f32x4.pmax(f32x4.add(x, bias0), floor));
  v128.store(c, f32x4.pmax(f32x4.add(y, bias1), floor), 16);
}

// C[MR × 8] = max(A panel · B panel + bias [+ C], floor); bias 0 = none. No unrolling over k: it spills registers.
export function microKernel(kc: i32, a: usize, b: usize, c: usize, stride: usize, accumulate: bool, bias: usize, low: f32): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  let c40 = f32x4.splat(0), c41 = f32x4.splat(0), c50 = f32x4.splat(0), c51 = f32x4.splat(0);
  for (let k = 0; k < kc; k++) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    const a0 = v128.load_splat<f32>(a);
    c00 = madd(a0, b0, c00); c01 = madd(a0, b1, c01);
    const a1 = v128.load_splat<f32>(a, 4);
    c10 = madd(a1, b0, c10); c11 = madd(a1, b1, c11);
    const a2 = v128.load_splat<f32>(a, 8);
    c20 = madd(a2, b0, c20); c21 = madd(a2, b1, c21);
    const a3 = v128.load_splat<f32>(a, 12);
    c30 = madd(a3, b0, c30); c31 = madd(a3, b1, c31);
    const a4 = v128.load_splat<f32>(a, 16);
    c40 = madd(a4, b0, c40); c41 = madd(a4, b1, c41);
    if (isDefined(RELAXED)) {
      const a5 = v128.load_splat<f32>(a, 20);
      c50 = madd(a5, b0, c50); c51 = madd(a5, b1, c51);
    }
    a += PANEL_A;
    b += PANEL_B;
  }
  let bias0 = f32x4.splat(0), bias1 = bias0;
  if (bias) {
    bias0 = v128.load(bias);
    bias1 = v128.load(bias, 16);
  }
  const floor = f32x4.splat(low);
  finishRow(c00, c01, c, accumulate, bias0, bias1, floor);
  finishRow(c10, c11, c + stride, accumulate, bias0, bias1, floor);
  finishRow(c20, c21, c + 2 * stride, accumulate, bias0, bias1, floor);
  finishRow(c30, c31, c + 3 * stride, accumulate, bias0, bias1, floor);
  finishRow(c40, c41, c + 4 * stride, accumulate, bias0, bias1, floor);
  if (isDefined(RELAXED)) finishRow(c50, c51, c + 5 * stride, accumulate, bias0, bias1, floor);
}

// The same for at most 4 columns: half the arithmetic where the matrix is narrow. Rows lie 32 bytes apart in B.
export function narrowKernel(kc: i32, a: usize, b: usize, c: usize): void {
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0), c2 = f32x4.splat(0);
  let c3 = f32x4.splat(0), c4 = f32x4.splat(0), c5 = f32x4.splat(0);
  for (let k = 0; k < kc; k++) {
    const b0 = v128.load(b);
    c0 = madd(v128.load_splat<f32>(a), b0, c0);
    c1 = madd(v128.load_splat<f32>(a, 4), b0, c1);
    c2 = madd(v128.load_splat<f32>(a, 8), b0, c2);
    c3 = madd(v128.load_splat<f32>(a, 12), b0, c3);
    c4 = madd(v128.load_splat<f32>(a, 16), b0, c4);
    if (isDefined(RELAXED)) c5 = madd(v128.load_splat<f32>(a, 20), b0, c5);
    a += PANEL_A;
    b += PANEL_B;
  }
  v128.store(c, f32x4.add(v128.load(c), c0));
  v128.store(c, f32x4.add(v128.load(c, 32), c1), 32);
  v128.store(c, f32x4.add(v128.load(c, 64), c2), 64);
  v128.store(c, f32x4.add(v128.load(c, 96), c3), 96);
  v128.store(c, f32x4.add(v128.load(c, 128), c4), 128);
  if (isDefined(RELAXED)) v128.store(c, f32x4.add(v128.load(c, 160), c5), 160);
}
