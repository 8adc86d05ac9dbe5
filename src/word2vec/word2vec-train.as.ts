// variants: relaxed
// Skip-gram and CBOW with negative sampling (Mikolov et al. 2013, arXiv 1310.4546). In skip-gram all context words of a
// window meet the same outputs, the centre word and its negatives (Ji et al. 2016, arXiv 1604.04661), so that a window is
// three products of small matrices: scores X·Oᵀ, then G·O and Gᵀ·X. Outputs are taken six at a time: two contexts × six
// outputs fill the registers.
import { madd } from "../engine/providers/wasm/gemm-tile.as";
import { sigmoid4 } from "../engine/providers/wasm/activation.as";
import {
  ALIAS, address, CONTEXTS, GRADIENTS, INPUT, KEEP, NEGATIVE, number, OUTPUT, OUTPUTS, ROW_BYTES, ROWS, randomState, SENTENCE,
  TOUCHED_INPUT, TOUCHED_OUTPUT, WEIGHTS, WINDOW, WORDS, ZERO_ROW,
} from "./control.as";

/** Words of a sentence, after subsampling; longer ones are cut, as in the original program. */
const SENTENCE_WORDS: u32 = 1000;
/** In the text: no word at all from here on; the end of a sentence. */
const NO_WORD: u32 = 0xfffffffd;
const SENTENCE_END: u32 = 0xffffffff;
const GROUP: u32 = 6;
const POINTER: usize = sizeof<usize>();

/** Every thread has its own instance, and so its own state. */
let random: u64 = 0;

// xorshift64* (Marsaglia, Vigna).
// @ts-ignore: decorator
@inline function draw(): u64 {
  random ^= random >> 12;
  random ^= random << 25;
  random ^= random >> 27;
  return random * 0x2545f4914f6cdd1d;
}

/** A word with the probability of the alias table. */
// @ts-ignore: decorator
@inline function drawWord(alias: usize, words: u32): u32 {
  const bits = draw();
  const column = <u32>(((bits >> 32) * <u64>words) >> 32);
  const entry = load<u64>(alias + (<usize>column << 3));
  return <u32>bits < <u32>entry ? column : <u32>(entry >> 32);
}

/** Sums of the lanes of four vectors, as one vector. */
// @ts-ignore: decorator
@inline function sums4(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}

/**
 * One step of skip-gram for `count` contexts (addresses, an even number; the last may be the zero row) and six outputs.
 * `weights` [6]: learning rate × how often each output was drawn, 0 for none. `label`: of the first output. `gradients`:
 * room for 12 numbers for each pair of contexts, in the order a0…a3, b0…b3, a4, a5, b4, b5.
 */
export function skipGramStep(
  contexts: usize, count: u32, zeroRow: usize, outputs: usize, weights: usize, label: f32, rowBytes: usize, gradients: usize,
): void {
  const o0 = load<usize>(outputs), o1 = load<usize>(outputs, POINTER), o2 = load<usize>(outputs, 2 * POINTER);
  const o3 = load<usize>(outputs, 3 * POINTER), o4 = load<usize>(outputs, 4 * POINTER), o5 = load<usize>(outputs, 5 * POINTER);
  const zero = f32x4.splat(0);
  const labels = f32x4.replace_lane(zero, 0, label);
  const first = v128.load(weights);
  const last = v128.load64_splat(weights, 16);
  const end = contexts + <usize>count * POINTER;
  let g = gradients;
  for (let c = contexts; c < end; c += 2 * POINTER, g += 48) {
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
    v128.store(g, f32x4.mul(first, f32x4.sub(labels, sigmoid4(sums4(a0, a1, a2, a3)))));
    v128.store(g, f32x4.mul(first, f32x4.sub(labels, sigmoid4(sums4(b0, b1, b2, b3)))), 16);
    v128.store(g, f32x4.mul(last, f32x4.sub(zero, sigmoid4(sums4(a4, a5, b4, b5)))), 32);
    if (y == zeroRow) {
      v128.store(g, zero, 16);
      store<u64>(g, 0, 40);
    }
  }
  for (let k: usize = 0; k < rowBytes; k += 16) {
    const v0 = v128.load(o0 + k), v1 = v128.load(o1 + k), v2 = v128.load(o2 + k);
    const v3 = v128.load(o3 + k), v4 = v128.load(o4 + k), v5 = v128.load(o5 + k);
    let d0 = v0, d1 = v1, d2 = v2, d3 = v3, d4 = v4, d5 = v5;
    let h = gradients;
    for (let c = contexts; c < end; c += 2 * POINTER, h += 48) {
      const xp = load<usize>(c) + k;
      const x = v128.load(xp);
      let w = v128.load32_splat(h);
      let s = madd(w, v0, x); d0 = madd(w, x, d0);
      w = v128.load32_splat(h, 4);
      s = madd(w, v1, s); d1 = madd(w, x, d1);
      w = v128.load32_splat(h, 8);
      s = madd(w, v2, s); d2 = madd(w, x, d2);
      w = v128.load32_splat(h, 12);
      s = madd(w, v3, s); d3 = madd(w, x, d3);
      w = v128.load32_splat(h, 32);
      s = madd(w, v4, s); d4 = madd(w, x, d4);
      w = v128.load32_splat(h, 36);
      s = madd(w, v5, s); d5 = madd(w, x, d5);
      v128.store(xp, s);
      const yp = load<usize>(c, POINTER) + k;
      const y = v128.load(yp);
      w = v128.load32_splat(h, 16);
      s = madd(w, v0, y); d0 = madd(w, y, d0);
      w = v128.load32_splat(h, 20);
      s = madd(w, v1, s); d1 = madd(w, y, d1);
      w = v128.load32_splat(h, 24);
      s = madd(w, v2, s); d2 = madd(w, y, d2);
      w = v128.load32_splat(h, 28);
      s = madd(w, v3, s); d3 = madd(w, y, d3);
      w = v128.load32_splat(h, 40);
      s = madd(w, v4, s); d4 = madd(w, y, d4);
      w = v128.load32_splat(h, 44);
      s = madd(w, v5, s); d5 = madd(w, y, d5);
      v128.store(yp, s);
    }
    v128.store(o0 + k, d0); v128.store(o1 + k, d1); v128.store(o2 + k, d2);
    v128.store(o3 + k, d3); v128.store(o4 + k, d4); v128.store(o5 + k, d5);
  }
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

/**
 * Outputs of a window: the centre word, then `negative` draws. A word that is drawn again weighs more, the centre is left
 * out as in the original. Fills addresses and weights up to a multiple of six with the zero row; returns their number.
 */
function drawOutputs(control: usize, centre: u32, alpha: f32): u32 {
  const outputs = address(control, OUTPUTS), weights = address(control, WEIGHTS);
  const matrix = address(control, OUTPUT), alias = address(control, ALIAS), touched = address(control, TOUCHED_OUTPUT);
  const words = number(control, WORDS), rowBytes = <usize>number(control, ROW_BYTES);
  const own = matrix + <usize>centre * rowBytes;
  store<usize>(outputs, own);
  store<f32>(weights, alpha);
  if (touched != 0) store<u8>(touched + centre, 1);
  let count: u32 = 1;
  for (let left = number(control, NEGATIVE); left > 0; left--) {
    const word = drawWord(alias, words);
    const row = matrix + <usize>word * rowBytes;
    store<usize>(outputs + <usize>count * POINTER, row);
    let at: usize = 0;
    while (load<usize>(outputs + at * POINTER) != row) at++;
    if (at == <usize>count) {
      store<f32>(weights + (at << 2), alpha);
      count++;
      if (touched != 0) store<u8>(touched + word, 1);
    } else if (at != 0) {
      store<f32>(weights + (at << 2), load<f32>(weights + (at << 2)) + alpha);
    }
  }
  const zeroRow = address(control, ZERO_ROW);
  for (; count % GROUP != 0; count++) {
    store<usize>(outputs + <usize>count * POINTER, zeroRow);
    store<f32>(weights + (<usize>count << 2), 0);
  }
  return count;
}

/** Copies the words of the next sentence that subsampling keeps; returns where the text goes on. */
function readSentence(control: usize, ids: usize, end: usize): usize {
  const keep = address(control, KEEP), touched = address(control, TOUCHED_INPUT);
  const start = address(control, SENTENCE) + 4;
  let at = start;
  const full = start + (<usize>SENTENCE_WORDS << 2);
  while (ids < end && at < full) {
    const word = load<u32>(ids);
    ids += 4;
    if (word >= NO_WORD) {
      if (word == SENTENCE_END) break;
      continue;
    }
    store<u32>(at, word);
    const kept = <u32>(draw() >> 32) <= load<u32>(keep + (<usize>word << 2));
    if (touched != 0 && kept) store<u8>(touched + word, 1);
    at += <usize>kept << 2;
  }
  store<u32>(start - 4, <u32>((at - start) >> 2));
  return ids;
}

/** Trains skip-gram on the words `ids` [n]. */
export function trainSkipGram(control: usize, ids: usize, n: u32, alpha: f32): void {
  random = load<u64>(randomState(control));
  const sentence = address(control, SENTENCE) + 4, contexts = address(control, CONTEXTS);
  const outputs = address(control, OUTPUTS), weights = address(control, WEIGHTS), gradients = address(control, GRADIENTS);
  const zeroRow = address(control, ZERO_ROW), matrix = address(control, INPUT);
  const rowBytes = <usize>number(control, ROW_BYTES), window = number(control, WINDOW);
  const end = ids + (<usize>n << 2);
  while (ids < end) {
    ids = readSentence(control, ids, end);
    const length = load<i32>(sentence - 4);
    for (let centre = 0; centre < length; centre++) {
      const reach = <i32>(1 + (((draw() >> 32) * <u64>window) >> 32));
      const from = max(0, centre - reach), to = min(length - 1, centre + reach);
      if (from == to) continue;
      let count: u32 = 0;
      for (let c = from; c <= to; c++) {
        store<usize>(contexts + <usize>count * POINTER, matrix + <usize>load<u32>(sentence + (<usize>c << 2)) * rowBytes);
        count += u32(c != centre);
      }
      store<usize>(contexts + <usize>count * POINTER, zeroRow);
      count += count & 1;
      const total = drawOutputs(control, load<u32>(sentence + (<usize>centre << 2)), alpha);
      for (let group: u32 = 0; group < total; group += GROUP) {
        skipGramStep(
          contexts, count, zeroRow, outputs + <usize>group * POINTER, weights + (<usize>group << 2), group == 0 ? 1 : 0,
          rowBytes, gradients,
        );
      }
    }
  }
  store<u64>(randomState(control), random);
}

/** Trains CBOW on the words `ids` [n]. As in the original, a context word moves by the whole error, not its share. */
export function trainCbow(control: usize, ids: usize, n: u32, alpha: f32): void {
  random = load<u64>(randomState(control));
  const sentence = address(control, SENTENCE) + 4, contexts = address(control, CONTEXTS);
  const outputs = address(control, OUTPUTS), weights = address(control, WEIGHTS), matrix = address(control, INPUT);
  const rowBytes = <usize>number(control, ROW_BYTES), window = number(control, WINDOW);
  const mean = address(control, ROWS), error = mean + rowBytes;
  const end = ids + (<usize>n << 2);
  while (ids < end) {
    ids = readSentence(control, ids, end);
    const length = load<i32>(sentence - 4);
    for (let centre = 0; centre < length; centre++) {
      const reach = <i32>(1 + (((draw() >> 32) * <u64>window) >> 32));
      const from = max(0, centre - reach), to = min(length - 1, centre + reach);
      if (from == to) continue;
      let last = contexts;
      for (let c = from; c <= to; c++) {
        store<usize>(last, matrix + <usize>load<u32>(sentence + (<usize>c << 2)) * rowBytes);
        last += c == centre ? 0 : POINTER;
      }
      const share = f32x4.splat(<f32>1 / <f32>(to - from));
      for (let k: usize = 0; k < rowBytes; k += 16) {
        let sum = v128.load(load<usize>(contexts) + k);
        for (let c = contexts + POINTER; c < last; c += POINTER) sum = f32x4.add(sum, v128.load(load<usize>(c) + k));
        v128.store(mean + k, f32x4.mul(sum, share));
      }
      memory.fill(error, 0, rowBytes);
      const total = drawOutputs(control, load<u32>(sentence + (<usize>centre << 2)), alpha);
      for (let group: u32 = 0; group < total; group += GROUP) {
        cbowStep(
          mean, error, outputs + <usize>group * POINTER, weights + (<usize>group << 2), group == 0 ? 1 : 0, rowBytes,
        );
      }
      for (let c = contexts; c < last; c += POINTER) {
        const row = load<usize>(c);
        for (let k: usize = 0; k < rowBytes; k += 16) {
          v128.store(row + k, f32x4.add(v128.load(row + k), v128.load(error + k)));
        }
      }
    }
  }
  store<u64>(randomState(control), random);
}

/** First input vectors: uniform in ±0.5 / dim, a function of the seed alone. */
export function fillUniform(rows: usize, count: u32, dim: u32, rowBytes: usize, seed: u32): void {
  random = (<u64>seed + 1) * 0x9e3779b97f4a7c15;
  draw();
  const scale = <f32>1 / (<f32>16777216 * <f32>dim);
  for (; count > 0; count--, rows += rowBytes) {
    for (let j: usize = 0; j < <usize>dim; j++) {
      store<f32>(rows + (j << 2), (<f32>(draw() >> 40) - <f32>8388608) * scale);
    }
  }
}

/** Lists the words whose byte in `touched` [words] is set, and clears it; returns how many there are. */
export function takeTouched(touched: usize, words: u32, list: usize): u32 {
  let count: usize = 0;
  for (let word: usize = 0; word < <usize>words; word += 4) {
    const flags = atomic.xchg<u32>(touched + word, 0);
    if (flags == 0) continue;
    for (let lane: usize = 0; lane < 4; lane++) {
      store<u32>(list + (count << 2), <u32>(word + lane));
      count += <usize>((flags >> (<u32>lane << 3)) & 1);
    }
  }
  return <u32>count;
}
