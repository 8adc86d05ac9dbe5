// library
// One step of descent over a window: the context words, or their mean, against six outputs. What the compiler of the engine
// does to long chains of sums decides the shape of this code: sums that loops carry stay in registers.
import { madd } from "../engine/providers/wasm/gemm-tile.as";
import { sigmoid4 } from "../engine/providers/wasm/activation.as";

const POINTER: usize = sizeof<usize>();

/** Sums of the lanes of four vectors, as one vector. */
// @ts-ignore: decorator
@inline function sums4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}

/**
 * One step of skip-gram for `count` contexts (distinct rows, an even number) and six outputs. `counts` f32 [count]: how often
 * each context stands in the window, 0 for one that only fills up. `weights` f32 [6]: learning rate × how often each output
 * was drawn, 0 for none. `label`: of the first output. `gradients`: room for eight numbers for each context, of which six
 * are used, and 48 more. Rows are taken in pieces of eight numbers.
 */
export function skipGramStep(
  contexts: usize, counts: usize, count: u32, outputs: usize, weights: usize, label: f32, rowBytes: usize, gradients: usize,
): void {
  const o0 = load<usize>(outputs), o1 = load<usize>(outputs, POINTER), o2 = load<usize>(outputs, 2 * POINTER);
  const o3 = load<usize>(outputs, 3 * POINTER), o4 = load<usize>(outputs, 4 * POINTER), o5 = load<usize>(outputs, 5 * POINTER);
  const zero = f32x4.splat(0);
  const labels = f32x4.replace_lane(zero, 0, label);
  const first = v128.load(weights);
  const last = v128.load64_splat(weights, 16);
  const end = contexts + <usize>count * POINTER;
  let g = gradients;
  for (let c = contexts; c < end; c += 2 * POINTER, counts += 8, g += 64) {
    const x = load<usize>(c), y = load<usize>(c, POINTER);
    let a0 = zero, a1 = zero, a2 = zero, a3 = zero, a4 = zero, a5 = zero;
    let b0 = zero, b1 = zero, b2 = zero, b3 = zero, b4 = zero, b5 = zero;
    for (let k: usize = 0; k < rowBytes; k += 16) {
      const xk = v128.load(x + k), yk = v128.load(y + k);
      let o = v128.load(o0 + k);
      a0 = madd(xk, o, a0); b0 = madd(yk, o, b0);
      o = v128.load(o1 + k);
      a1 = madd(xk, o, a1); b1 = madd(yk, o, b1);
      o = v128.load(o2 + k);
      a2 = madd(xk, o, a2); b2 = madd(yk, o, b2);
      o = v128.load(o3 + k);
      a3 = madd(xk, o, a3); b3 = madd(yk, o, b3);
      o = v128.load(o4 + k);
      a4 = madd(xk, o, a4); b4 = madd(yk, o, b4);
      o = v128.load(o5 + k);
      a5 = madd(xk, o, a5); b5 = madd(yk, o, b5);
    }
    const m = v128.load32_splat(counts), n = v128.load32_splat(counts, 4);
    const ga = f32x4.mul(first, f32x4.sub(labels, sigmoid4(sums4(a0, a1, a2, a3))));
    const gb = f32x4.mul(first, f32x4.sub(labels, sigmoid4(sums4(b0, b1, b2, b3))));
    const rest = f32x4.mul(last, f32x4.sub(zero, sigmoid4(sums4(a4, a5, b4, b5))));
    v128.store(g, f32x4.mul(ga, m));
    v128.store(g, f32x4.mul(gb, n), 32);
    v128.store64_lane(g, f32x4.mul(rest, m), 0, 16);
    v128.store64_lane(g, f32x4.mul(rest, n), 1, 48);
  }
  // Outputs and contexts both move by what the other was before. Sums of six and of two or four rows fit the registers, of
  // both at once they do not: the outputs move first, and leave what they were in `old`.
  const old = gradients + <usize>count * 32;
  const fours = contexts + (<usize>count & ~3) * POINTER;
  for (let k: usize = 0; k < rowBytes; k += 32) {
    let d0 = v128.load(o0 + k), e0 = v128.load(o0 + k, 16);
    let d1 = v128.load(o1 + k), e1 = v128.load(o1 + k, 16);
    let d2 = v128.load(o2 + k), e2 = v128.load(o2 + k, 16);
    let d3 = v128.load(o3 + k), e3 = v128.load(o3 + k, 16);
    let d4 = v128.load(o4 + k), e4 = v128.load(o4 + k, 16);
    let d5 = v128.load(o5 + k), e5 = v128.load(o5 + k, 16);
    v128.store(old, d0, 0); v128.store(old, e0, 16);
    v128.store(old, d1, 32); v128.store(old, e1, 48);
    v128.store(old, d2, 64); v128.store(old, e2, 80);
    v128.store(old, d3, 96); v128.store(old, e3, 112);
    v128.store(old, d4, 128); v128.store(old, e4, 144);
    v128.store(old, d5, 160); v128.store(old, e5, 176);
    let h = gradients;
    for (let c = contexts; c < end; c += POINTER, h += 32) {
      const xp = load<usize>(c) + k;
      const x = v128.load(xp), z = v128.load(xp, 16);
      let w: v128;
      w = v128.load32_splat(h, 0);
      d0 = madd(w, x, d0); e0 = madd(w, z, e0);
      w = v128.load32_splat(h, 4);
      d1 = madd(w, x, d1); e1 = madd(w, z, e1);
      w = v128.load32_splat(h, 8);
      d2 = madd(w, x, d2); e2 = madd(w, z, e2);
      w = v128.load32_splat(h, 12);
      d3 = madd(w, x, d3); e3 = madd(w, z, e3);
      w = v128.load32_splat(h, 16);
      d4 = madd(w, x, d4); e4 = madd(w, z, e4);
      w = v128.load32_splat(h, 20);
      d5 = madd(w, x, d5); e5 = madd(w, z, e5);
    }
    v128.store(o0 + k, d0); v128.store(o0 + k, e0, 16);
    v128.store(o1 + k, d1); v128.store(o1 + k, e1, 16);
    v128.store(o2 + k, d2); v128.store(o2 + k, e2, 16);
    v128.store(o3 + k, d3); v128.store(o3 + k, e3, 16);
    v128.store(o4 + k, d4); v128.store(o4 + k, e4, 16);
    v128.store(o5 + k, d5); v128.store(o5 + k, e5, 16);
    let c = contexts;
    h = gradients;
    for (; c < fours; c += 4 * POINTER, h += 128) moveFour(c, h, old, k);
    if (c < end) moveTwo(c, h, old, k);
  }
}

/** Adds G · outputs to eight numbers of four contexts. */
// @ts-ignore: decorator
@inline function moveFour(contexts: usize, h: usize, old: usize, k: usize): void {
  const p0 = load<usize>(contexts, 0 * POINTER) + k;
  const p1 = load<usize>(contexts, 1 * POINTER) + k;
  const p2 = load<usize>(contexts, 2 * POINTER) + k;
  const p3 = load<usize>(contexts, 3 * POINTER) + k;
  let s0 = v128.load(p0), t0 = v128.load(p0, 16);
  let s1 = v128.load(p1), t1 = v128.load(p1, 16);
  let s2 = v128.load(p2), t2 = v128.load(p2, 16);
  let s3 = v128.load(p3), t3 = v128.load(p3, 16);
  for (const end = old + 192; old < end; old += 32, h += 4) {
    const v = v128.load(old), u = v128.load(old, 16);
    let w: v128;
    w = v128.load32_splat(h, 0);
    s0 = madd(w, v, s0); t0 = madd(w, u, t0);
    w = v128.load32_splat(h, 32);
    s1 = madd(w, v, s1); t1 = madd(w, u, t1);
    w = v128.load32_splat(h, 64);
    s2 = madd(w, v, s2); t2 = madd(w, u, t2);
    w = v128.load32_splat(h, 96);
    s3 = madd(w, v, s3); t3 = madd(w, u, t3);
  }
  v128.store(p0, s0); v128.store(p0, t0, 16);
  v128.store(p1, s1); v128.store(p1, t1, 16);
  v128.store(p2, s2); v128.store(p2, t2, 16);
  v128.store(p3, s3); v128.store(p3, t3, 16);
}

/** Adds G · outputs to eight numbers of two contexts. */
// @ts-ignore: decorator
@inline function moveTwo(contexts: usize, h: usize, old: usize, k: usize): void {
  const p0 = load<usize>(contexts, 0 * POINTER) + k;
  const p1 = load<usize>(contexts, 1 * POINTER) + k;
  let s0 = v128.load(p0), t0 = v128.load(p0, 16);
  let s1 = v128.load(p1), t1 = v128.load(p1, 16);
  for (const end = old + 192; old < end; old += 32, h += 4) {
    const v = v128.load(old), u = v128.load(old, 16);
    let w: v128;
    w = v128.load32_splat(h, 0);
    s0 = madd(w, v, s0); t0 = madd(w, u, t0);
    w = v128.load32_splat(h, 32);
    s1 = madd(w, v, s1); t1 = madd(w, u, t1);
  }
  v128.store(p0, s0); v128.store(p0, t0, 16);
  v128.store(p1, s1); v128.store(p1, t1, 16);
}

/**
 * One step of CBOW for the mean of contexts at `mean` and six outputs, as in `skipGramStep`; adds to `error` what each
 * context is to move by.
 */
export function cbowStep(mean: usize, error: usize, outputs: usize, weights: usize, label: f32, rowBytes: usize): void {
  const o0 = load<usize>(outputs), o1 = load<usize>(outputs, POINTER), o2 = load<usize>(outputs, 2 * POINTER);
  const o3 = load<usize>(outputs, 3 * POINTER), o4 = load<usize>(outputs, 4 * POINTER), o5 = load<usize>(outputs, 5 * POINTER);
  const zero = f32x4.splat(0);
  let a0 = zero, a1 = zero, a2 = zero, a3 = zero, a4 = zero, a5 = zero;
  for (let k: usize = 0; k < rowBytes; k += 16) {
    const h = v128.load(mean + k);
    a0 = madd(h, v128.load(o0 + k), a0);
    a1 = madd(h, v128.load(o1 + k), a1);
    a2 = madd(h, v128.load(o2 + k), a2);
    a3 = madd(h, v128.load(o3 + k), a3);
    a4 = madd(h, v128.load(o4 + k), a4);
    a5 = madd(h, v128.load(o5 + k), a5);
  }
  const labels = f32x4.replace_lane(zero, 0, label);
  const g = f32x4.mul(v128.load(weights), f32x4.sub(labels, sigmoid4(sums4(a0, a1, a2, a3))));
  const t = f32x4.mul(v128.load64_splat(weights, 16), f32x4.sub(zero, sigmoid4(sums4(a4, a5, a4, a5))));
  const g0 = v128.shuffle<f32>(g, g, 0, 0, 0, 0), g1 = v128.shuffle<f32>(g, g, 1, 1, 1, 1);
  const g2 = v128.shuffle<f32>(g, g, 2, 2, 2, 2), g3 = v128.shuffle<f32>(g, g, 3, 3, 3, 3);
  const g4 = v128.shuffle<f32>(t, t, 0, 0, 0, 0), g5 = v128.shuffle<f32>(t, t, 1, 1, 1, 1);
  for (let k: usize = 0; k < rowBytes; k += 16) {
    const h = v128.load(mean + k);
    let e = v128.load(error + k);
    let o = v128.load(o0 + k);
    e = madd(g0, o, e); v128.store(o0 + k, madd(g0, h, o));
    o = v128.load(o1 + k);
    e = madd(g1, o, e); v128.store(o1 + k, madd(g1, h, o));
    o = v128.load(o2 + k);
    e = madd(g2, o, e); v128.store(o2 + k, madd(g2, h, o));
    o = v128.load(o3 + k);
    e = madd(g3, o, e); v128.store(o3 + k, madd(g3, h, o));
    o = v128.load(o4 + k);
    e = madd(g4, o, e); v128.store(o4 + k, madd(g4, h, o));
    o = v128.load(o5 + k);
    e = madd(g5, o, e); v128.store(o5 + k, madd(g5, h, o));
    v128.store(error + k, e);
  }
}
