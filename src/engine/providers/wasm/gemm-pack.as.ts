// library
// Packing: blocks of the operands of a matrix product laid out as the panels that the register tile streams through.
import { MR, NR, PANEL_A, PANEL_B } from "./gemm-tile.as";

// @ts-ignore: decorator
@inline
function even(a: v128, b: v128): v128 {
  return v128.shuffle<f32>(a, b, 0, 4, 1, 5);
}

// @ts-ignore: decorator
@inline
function odd(a: v128, b: v128): v128 {
  return v128.shuffle<f32>(a, b, 2, 6, 3, 7);
}

// @ts-ignore: decorator
@inline
function low(a: v128, b: v128): v128 {
  return v128.shuffle<f32>(a, b, 0, 1, 4, 5);
}

// @ts-ignore: decorator
@inline
function high(a: v128, b: v128): v128 {
  return v128.shuffle<f32>(a, b, 2, 3, 6, 7);
}

// Row-major rows (k contiguous) into panels [kc][MR]. Rows past the end repeat the last one: their results are dropped.
export function packRowsA(mc: i32, kc: i32, a: usize, stride: usize, to: usize): void {
  for (let i = 0; i < mc; i += MR) {
    const last = <usize>(mc - 1 - i);
    const p = a + <usize>i * stride;
    let p0 = p;
    let p1 = p + min<usize>(1, last) * stride;
    let p2 = p + min<usize>(2, last) * stride;
    let p3 = p + min<usize>(3, last) * stride;
    let p4 = p + min<usize>(4, last) * stride;
    let p5 = p + min<usize>(5, last) * stride;
    let k = 0;
    for (; k + 4 <= kc; k += 4) {
      const r0 = v128.load(p0), r1 = v128.load(p1), r2 = v128.load(p2), r3 = v128.load(p3), r4 = v128.load(p4);
      const t0 = even(r0, r1), t1 = even(r2, r3), t2 = odd(r0, r1), t3 = odd(r2, r3);
      v128.store(to, low(t0, t1));
      v128.store(to + PANEL_A, high(t0, t1));
      v128.store(to + 2 * PANEL_A, low(t2, t3));
      v128.store(to + 3 * PANEL_A, high(t2, t3));
      if (isDefined(RELAXED)) {
        const r5 = v128.load(p5);
        const u0 = even(r4, r5), u1 = odd(r4, r5);
        v128.store_lane<i64>(to, u0, 0, 16);
        v128.store_lane<i64>(to + PANEL_A, u0, 1, 16);
        v128.store_lane<i64>(to + 2 * PANEL_A, u1, 0, 16);
        v128.store_lane<i64>(to + 3 * PANEL_A, u1, 1, 16);
        p5 += 16;
      } else {
        v128.store_lane<f32>(to, r4, 0, 16);
        v128.store_lane<f32>(to + PANEL_A, r4, 1, 16);
        v128.store_lane<f32>(to + 2 * PANEL_A, r4, 2, 16);
        v128.store_lane<f32>(to + 3 * PANEL_A, r4, 3, 16);
      }
      p0 += 16; p1 += 16; p2 += 16; p3 += 16; p4 += 16;
      to += 4 * PANEL_A;
    }
    for (; k < kc; k++) {
      store<f32>(to, load<f32>(p0));
      store<f32>(to, load<f32>(p1), 4);
      store<f32>(to, load<f32>(p2), 8);
      store<f32>(to, load<f32>(p3), 12);
      store<f32>(to, load<f32>(p4), 16);
      if (isDefined(RELAXED)) store<f32>(to, load<f32>(p5), 20);
      p0 += 4; p1 += 4; p2 += 4; p3 += 4; p4 += 4; p5 += 4;
      to += PANEL_A;
    }
  }
}

// Columns that lie contiguous (A transposed, or B as it is) into panels [kc][width].
export function packColumns(count: i32, kc: i32, from: usize, stride: usize, to: usize, width: i32): void {
  for (let i = 0; i < count; i += width) {
    let p = from + (<usize>i << 2);
    const n = count - i;
    if (n >= width) {
      for (let k = 0; k < kc; k++) {
        v128.store(to, v128.load(p));
        if (width == 8) v128.store(to, v128.load(p, 16), 16);
        else if (width == 6) store<u64>(to, load<u64>(p, 16), 16);
        else store<u32>(to, load<u32>(p, 16), 16);
        p += stride;
        to += <usize>width << 2;
      }
    } else {
      for (let k = 0; k < kc; k++) {
        for (let j = 0; j < width; j++) store<f32>(to + (<usize>j << 2), load<f32>(p + (<usize>min(j, n - 1) << 2)));
        p += stride;
        to += <usize>width << 2;
      }
    }
  }
}

// B transposed: its rows (k contiguous) become the columns of panels [kc][8].
export function packRowsB(nc: i32, kc: i32, b: usize, stride: usize, to: usize): void {
  for (let j = 0; j < nc; j += NR) {
    const last = <usize>(nc - 1 - j);
    for (let half: usize = 0; half < 8; half += 4) {
      const p = b + <usize>j * stride;
      let p0 = p + min<usize>(half, last) * stride;
      let p1 = p + min<usize>(half + 1, last) * stride;
      let p2 = p + min<usize>(half + 2, last) * stride;
      let p3 = p + min<usize>(half + 3, last) * stride;
      let q = to + (half << 2);
      let k = 0;
      for (; k + 4 <= kc; k += 4) {
        const r0 = v128.load(p0), r1 = v128.load(p1), r2 = v128.load(p2), r3 = v128.load(p3);
        const t0 = even(r0, r1), t1 = even(r2, r3), t2 = odd(r0, r1), t3 = odd(r2, r3);
        v128.store(q, low(t0, t1));
        v128.store(q, high(t0, t1), 32);
        v128.store(q, low(t2, t3), 64);
        v128.store(q, high(t2, t3), 96);
        p0 += 16; p1 += 16; p2 += 16; p3 += 16;
        q += 128;
      }
      for (; k < kc; k++) {
        store<f32>(q, load<f32>(p0));
        store<f32>(q, load<f32>(p1), 4);
        store<f32>(q, load<f32>(p2), 8);
        store<f32>(q, load<f32>(p3), 12);
        p0 += 4; p1 += 4; p2 += 4; p3 += 4;
        q += 32;
      }
    }
    to += <usize>kc * PANEL_B;
  }
}
