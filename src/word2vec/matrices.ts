// What threads need to train together: the two matrices, and what is drawn from the counts of the words.
import { type Heap, instantiate } from "../memory/index.ts";

/** Kernel word2vec-train.as.ts; what each does stands there. */
export interface TrainKernel {
  skipGramStep(
    contexts: number,
    counts: number,
    count: number,
    outputs: number,
    weights: number,
    label: number,
    rowBytes: number,
    gradients: number,
  ): void;
  cbowStep(mean: number, error: number, outputs: number, weights: number, label: number, rowBytes: number): void;
  trainSkipGram(control: number, ids: number, n: number, alpha: number): void;
  trainCbow(control: number, ids: number, n: number, alpha: number): void;
  fillUniform(rows: number, count: number, dim: number, rowBytes: number, seed: number): void;
  takeTouched(touched: number, words: number, list: number): number;
}

export const trainKernel = (heap: Heap): TrainKernel => instantiate("word2vec-train", heap);

/** Plain data, sent to threads. */
export interface MatricesHandle {
  readonly words: number;
  readonly dim: number;
  /** Numbers from one row to the next. */
  readonly stride: number;
  readonly input: number;
  readonly output: number;
  readonly keep: number;
  readonly alias: number;
  /** 0 where nobody asks which rows change. */
  readonly touchedInput: number;
  readonly touchedOutput: number;
}

/** Kernels take eight numbers of a row at a time. */
export const strideOf = (dim: number): number => Math.ceil(dim / 8) * 8;

/** Power of the counts by which negatives are drawn, as in the paper. */
const POWER = 0.75;
const U32 = 2 ** 32;

/** Sets up training: random input vectors, output vectors of zeros, the tables to draw from. */
export function createMatrices(
  heap: Heap,
  counts: Float64Array,
  options: { dim: number; subsample: number; seed: number; touched: boolean },
): MatricesHandle {
  const { dim, subsample, seed, touched } = options;
  const words = counts.length;
  const stride = strideOf(dim);
  const flags = (): number => (touched ? heap.alloc(words + 4) : 0);
  const handle: MatricesHandle = {
    ...{ words, dim, stride },
    input: heap.alloc(4 * stride * words),
    output: heap.alloc(4 * stride * words),
    keep: heap.alloc(4 * words),
    alias: heap.alloc(8 * words),
    touchedInput: flags(),
    touchedOutput: flags(),
  };
  trainKernel(heap).fillUniform(handle.input, words, dim, 4 * stride, seed);
  heap.u32(handle.keep, words).set(keepThresholds(counts, subsample));
  fillAlias(heap.u32(handle.alias, 2 * words), counts);
  return handle;
}

/** A word of frequency f is kept with the probability √(t / f) + t / f, as in the original program; here times 2³². */
export function keepThresholds(counts: Float64Array, subsample: number): Uint32Array {
  const limit = subsample * counts.reduce((a, b) => a + b, 0);
  return Uint32Array.from(counts, (count) => {
    const share = limit === 0 ? 1 : Math.sqrt(limit / count) + limit / count;
    return Math.min(U32 - 1, Math.floor(share * U32));
  });
}

/** Vose's alias method: pairs of a threshold and the word to take where a random number lies above it. */
export function fillAlias(alias: Uint32Array, counts: Float64Array): void {
  const words = counts.length;
  const weights = Float64Array.from(counts, (count) => count ** POWER);
  const total = weights.reduce((a, b) => a + b, 0);
  const small: number[] = [];
  const large: number[] = [];
  for (let word = 0; word < words; word++) {
    weights[word]! *= words / total;
    (weights[word]! < 1 ? small : large).push(word);
  }
  while (small.length > 0 && large.length > 0) {
    const word = small.pop()!;
    const other = large.at(-1)!;
    alias.set([Math.min(U32 - 1, Math.floor(weights[word]! * U32)), other], 2 * word);
    weights[other]! -= 1 - weights[word]!;
    if (weights[other]! < 1) small.push(large.pop()!);
  }
  for (const word of [...small, ...large]) alias.set([U32 - 1, word], 2 * word);
}

/** Words of a sentence, as in the kernel. */
const SENTENCE_WORDS = 1000;

/** Addresses in a control block. */
const ADDRESSES = 14;

/** The kernel with a control block and scratch of one thread (control.as.ts). */
export class TrainingThread {
  readonly #heap: Heap;
  readonly #kernel: TrainKernel;
  readonly #blocks: number[];

  constructor(heap: Heap, handle: MatricesHandle, options: { window: number; negative: number; seed: number }) {
    this.#heap = heap;
    this.#kernel = trainKernel(heap);
    const { window, negative, seed } = options;
    const { addressBytes } = heap;
    const rowBytes = 4 * handle.stride;
    // One output more than there are, to find a word that was drawn before, and up to a multiple of six.
    const outputs = negative + 8;
    const contexts = 2 * window + 2;
    const sizes = [4 * (SENTENCE_WORDS + 2), addressBytes * contexts, addressBytes * outputs, 4 * outputs];
    this.#blocks = [13 * addressBytes + 32, ...sizes, 32 * contexts + 192, rowBytes, 2 * rowBytes].map((n) =>
      heap.alloc(n),
    );
    const [control, ...scratch] = this.#blocks;
    const { input, output, keep, alias, touchedInput, touchedOutput } = handle;
    heap.addresses(control!, ADDRESSES).set([input, output, keep, alias, touchedInput, touchedOutput, ...scratch]);
    const numbers = heap.u32(control! + ADDRESSES * addressBytes, 6);
    numbers.set([handle.words, rowBytes, window, negative, ...seedWords(seed)]);
  }

  /** Trains on the words at `ids`. */
  train(cbow: boolean, ids: number, n: number, alpha: number): void {
    if (cbow) this.#kernel.trainCbow(this.#blocks[0]!, ids, n, alpha);
    else this.#kernel.trainSkipGram(this.#blocks[0]!, ids, n, alpha);
  }

  free(): void {
    for (const block of this.#blocks) this.#heap.free(block);
  }
}

/** A state of the random numbers that is never zero. */
function seedWords(seed: number): [number, number] {
  return [Math.imul(seed + 1, 0x9e3779b1) >>> 0, (Math.imul(seed, 0x85ebca6b) ^ 0x5851f42d) | 1];
}
