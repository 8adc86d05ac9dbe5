// variants: relaxed
// Skip-gram and CBOW with negative sampling (Mikolov et al. 2013, arXiv 1310.4546). In skip-gram all context words of a
// window meet the same outputs, the centre word and its negatives (Ji et al. 2016, arXiv 1604.04661), so that a window is
// three products of small matrices: scores X·Oᵀ, then G·O and Gᵀ·X. Outputs are taken six at a time: two contexts × six
// outputs fill the registers.
import {
  ALIAS, address, CONTEXTS, COUNTS, GRADIENTS, INPUT, KEEP, NEGATIVE, number, OUTPUT, OUTPUTS, ROW_BYTES, ROWS, randomState, SENTENCE,
  TOUCHED_INPUT, TOUCHED_OUTPUT, WEIGHTS, WINDOW, WORDS, ZERO_ROW,
} from "./control.as";
import { cbowStep, skipGramStep } from "./window-step.as";

export { cbowStep, skipGramStep };

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

/** Adds a row to the contexts of a window, or counts it where it is among them already; returns how many there are. */
// @ts-ignore: decorator
@inline function addContext(contexts: usize, counts: usize, count: u32, row: usize): u32 {
  store<usize>(contexts + <usize>count * POINTER, row);
  let at: usize = 0;
  while (load<usize>(contexts + at * POINTER) != row) at++;
  if (at == <usize>count) {
    store<f32>(counts + (at << 2), 1);
    return count + 1;
  }
  store<f32>(counts + (at << 2), load<f32>(counts + (at << 2)) + 1);
  return count;
}

/** Trains skip-gram on the words `ids` [n]. */
export function trainSkipGram(control: usize, ids: usize, n: u32, alpha: f32): void {
  random = load<u64>(randomState(control));
  const sentence = address(control, SENTENCE) + 4, contexts = address(control, CONTEXTS);
  const outputs = address(control, OUTPUTS), weights = address(control, WEIGHTS), gradients = address(control, GRADIENTS);
  const zeroRow = address(control, ZERO_ROW), matrix = address(control, INPUT), counts = address(control, COUNTS);
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
        if (c != centre) count = addContext(contexts, counts, count, matrix + <usize>load<u32>(sentence + (<usize>c << 2)) * rowBytes);
      }
      store<usize>(contexts + <usize>count * POINTER, zeroRow);
      store<f32>(counts + (<usize>count << 2), 0);
      count += count & 1;
      const total = drawOutputs(control, load<u32>(sentence + (<usize>centre << 2)), alpha);
      for (let group: u32 = 0; group < total; group += GROUP) {
        skipGramStep(
          contexts, counts, count, outputs + <usize>group * POINTER, weights + (<usize>group << 2), group == 0 ? 1 : 0,
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
