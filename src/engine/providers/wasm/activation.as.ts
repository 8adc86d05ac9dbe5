// library
// Activations over four f32 lanes, for epilogues of matrix products and cells of recurrent nets.

import { madd } from "./gemm-tile.as";

export const RELU: i32 = 1;
const SIGMOID: i32 = 2;

// exp after Cephes expf: 2^n · p(r), |r| ≤ ln 2 / 2. `pmin` and `pmax` keep a NaN that stands first.
// @ts-ignore: decorator
@inline
function exp4(x: v128): v128 {
  x = f32x4.pmax(f32x4.pmin(x, f32x4.splat(88.37)), f32x4.splat(-87.33));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504088896341)));
  let r = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)));
  r = f32x4.sub(r, f32x4.mul(n, f32x4.splat(-2.12194440e-4)));
  let p = f32x4.splat(1.9875691500e-4);
  p = madd(p, r, f32x4.splat(1.3981999507e-3));
  p = madd(p, r, f32x4.splat(8.3334519073e-3));
  p = madd(p, r, f32x4.splat(4.1665795894e-2));
  p = madd(p, r, f32x4.splat(1.6666665459e-1));
  p = madd(p, r, f32x4.splat(5.0000001201e-1));
  p = f32x4.add(f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r), f32x4.splat(1));
  const scale = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23);
  return f32x4.mul(p, scale);
}

// @ts-ignore: decorator
@inline
export function sigmoid4(x: v128): v128 {
  const one = f32x4.splat(1);
  return f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(x))));
}

// tanh after Cephes tanhf: an odd polynomial near 0, where the quotient would cancel.
// @ts-ignore: decorator
@inline
export function tanh4(x: v128): v128 {
  const s = f32x4.mul(x, x);
  let p = f32x4.splat(-5.70498872745e-3);
  p = madd(p, s, f32x4.splat(2.06390887954e-2));
  p = madd(p, s, f32x4.splat(-5.37397155531e-2));
  p = madd(p, s, f32x4.splat(1.33314422036e-1));
  p = madd(p, s, f32x4.splat(-3.33332819422e-1));
  const near = f32x4.add(x, f32x4.mul(x, f32x4.mul(p, s)));
  const one = f32x4.splat(1);
  const far = f32x4.sub(one, f32x4.div(f32x4.splat(2), f32x4.add(one, exp4(f32x4.add(x, x)))));
  return v128.bitselect(near, far, f32x4.lt(f32x4.abs(x), f32x4.splat(0.625)));
}

/** One vector, for the numbers that are left over. */
function activate4(x: v128, kind: i32): v128 {
  if (kind == RELU) return f32x4.pmax(x, f32x4.splat(0));
  return kind == SIGMOID ? sigmoid4(x) : tanh4(x);
}

/** x = act(x) over n numbers; kinds: 0 none, 1 relu, 2 sigmoid, 3 tanh. */
export function activate(n: usize, x: usize, kind: i32): void {
  if (!kind) return;
  const end = x + ((n & ~3) << 2);
  if (kind == RELU) for (; x != end; x += 16) v128.store(x, f32x4.pmax(v128.load(x), f32x4.splat(0)));
  else if (kind == SIGMOID) for (; x != end; x += 16) v128.store(x, sigmoid4(v128.load(x)));
  else for (; x != end; x += 16) v128.store(x, tanh4(v128.load(x)));
  for (n &= 3; n > 0; n--) {
    v128.store_lane<f32>(x, activate4(v128.load_splat<f32>(x), kind), 0);
    x += 4;
  }
}
