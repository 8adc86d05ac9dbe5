// Word vectors: looked up by word, compared by cosine.
import { type Heap, instantiate } from "../memory/index.ts";
import { loadVectors, saveVectors } from "./vector-files.ts";
import type { VectorFormat } from "./vector-formats.ts";

export interface Neighbour {
  readonly word: string;
  /** Cosine, or of an analogy the cosine to the sum of unit vectors. */
  readonly similarity: number;
}

export interface MatrixPlace {
  readonly rows: number;
  readonly dim: number;
  /** Numbers from one row to the next, a multiple of eight; those from `dim` on are 0. */
  readonly stride: number;
  readonly address: number;
}

interface SearchKernel {
  inverseLengths(matrix: number, rows: number, rowBytes: number, scales: number): void;
  scores(matrix: number, rows: number, rowBytes: number, scales: number, queries: number, out: number): void;
  largest(values: number, n: number, count: number, places: number): void;
}

/** Queries that the kernel answers together. */
const QUERIES = 8;

/** b − a + c, of words: what is to c as b is to a. */
export type Analogy = readonly [a: string, b: string, c: string];

/** A word that has no vector. */
export class UnknownWordError extends Error {
  override readonly name = "UnknownWordError";
  readonly word: string;

  constructor(word: string, near: string | undefined) {
    super(`${JSON.stringify(word)} is not in the vocabulary${near === undefined ? "" : `; did you mean ${near}?`}`);
    this.word = word;
  }
}

/** Word vectors in memory, the most frequent words first. */
export class WordVectors {
  readonly words: readonly string[];
  readonly dim: number;
  readonly #heap: Heap;
  readonly #matrix: MatrixPlace;
  readonly #numbers: ReadonlyMap<string, number>;
  #scratch: { scales: number; queries: number; scores: number; places: number } | undefined;

  constructor(heap: Heap, words: readonly string[], matrix: MatrixPlace) {
    this.words = words;
    this.dim = matrix.dim;
    this.#heap = heap;
    this.#matrix = matrix;
    this.#numbers = new Map(words.map((word, number) => [word, number]));
  }

  /**
   * Reads vectors in the text or binary format of word2vec, as gensim, fastText (.vec) and the original write them, also
   * compressed by gzip.
   * @throws DataError that says what is wrong with the file
   */
  static async load(path: string, options: { readonly maxBytes?: number } = {}): Promise<WordVectors> {
    const { heap, words, ...matrix } = await loadVectors(path, options);
    return new WordVectors(heap, words, matrix);
  }

  /** Writes a file that appears when it is complete and on the disk. Default: text where the name ends in .vec or .txt. */
  async save(path: string, format?: VectorFormat): Promise<void> {
    await saveVectors(path, this, format);
  }

  has(word: string): boolean {
    return this.#numbers.has(word);
  }

  /** The place of a word in `words`; -1 where there is none. */
  numberOf(word: string): number {
    return this.#numbers.get(word) ?? -1;
  }

  /** A view of a word's vector. @throws UnknownWordError */
  vector(word: string): Float32Array {
    return this.vectorAt(this.#expect(word));
  }

  /** A view of the vector of word `number`. */
  vectorAt(number: number): Float32Array {
    const { address, stride, dim } = this.#matrix;
    return this.#heap.f32(address + 4 * stride * number, dim);
  }

  /** The cosine of two words' vectors. @throws UnknownWordError */
  similarity(a: string, b: string): number {
    const [x, y] = [this.#unit(this.#expect(a)), this.#unit(this.#expect(b))];
    return x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  }

  /** The `count` words whose vectors point most in the direction of that of `word`. @throws UnknownWordError */
  nearest(word: string, count = 10): Neighbour[] {
    const number = this.#expect(word);
    return this.#search([{ query: this.#unit(number), without: [number] }], count)[0]!;
  }

  /**
   * The words for d in "a is to b as c is to d", best first; 3CosAdd (Mikolov et al. 2013, NAACL).
   * @param among only the first so many words are searched
   * @throws UnknownWordError
   */
  analogy(a: string, b: string, c: string, count = 10): Neighbour[] {
    return this.analogies([[a, b, c]], { count })[0]!;
  }

  /** As `analogy`, of many at once. */
  analogies(questions: readonly Analogy[], options: { count?: number; among?: number } = {}): Neighbour[][] {
    const { count = 1, among = this.words.length } = options;
    const searches = questions.map((question) => {
      const without = question.map((word) => this.#expect(word));
      const [a, b, c] = without.map((number) => this.#unit(number)) as [Float32Array, Float32Array, Float32Array];
      const query = a.map((value, i) => b[i]! - value + c[i]!);
      const length = Math.hypot(...query) || 1;
      return { query: query.map((value) => value / length), without };
    });
    return this.#search(searches, count, Math.min(among, this.words.length));
  }

  #expect(word: string): number {
    const number = this.#numbers.get(word);
    if (number !== undefined) return number;
    const lower = word.toLowerCase();
    throw new UnknownWordError(word, this.#numbers.has(lower) ? lower : undefined);
  }

  #unit(number: number): Float32Array {
    const vector = this.vectorAt(number);
    const length = Math.hypot(...vector) || 1;
    return Float32Array.from(vector, (value) => value / length);
  }

  #search(
    searches: readonly { query: Float32Array; without: readonly number[] }[],
    count: number,
    among: number = this.words.length,
  ): Neighbour[][] {
    if (!Number.isInteger(count) || count < 1) throw new RangeError(`count must be a positive integer, got ${count}`);
    const kernel = instantiate<SearchKernel>("word2vec-search", this.#heap);
    const { scales, queries, scores, places } = this.#room(kernel, count + 4);
    const { address, stride } = this.#matrix;
    const heap = this.#heap;
    const answers: Neighbour[][] = [];
    for (let from = 0; from < searches.length; from += QUERIES) {
      const group = searches.slice(from, from + QUERIES);
      for (const [i, { query }] of group.entries()) heap.f32(queries + 4 * stride * i, this.dim).set(query);
      kernel.scores(address, among, 4 * stride, scales, queries, scores);
      for (const [i, { without }] of group.entries()) {
        const values = heap.f32(scores + 4 * among * i, among);
        for (const number of without) if (number < among) values[number] = Number.NEGATIVE_INFINITY;
        const found = Math.min(count, among - without.filter((number) => number < among).length);
        kernel.largest(scores + 4 * among * i, among, found, places);
        const best = Array.from(heap.u32(places, found));
        answers.push(best.map((number) => ({ word: this.words[number]!, similarity: values[number]! })));
      }
    }
    heap.free(places);
    return answers;
  }

  #room(kernel: SearchKernel, count: number): { scales: number; queries: number; scores: number; places: number } {
    const { rows, stride, address } = this.#matrix;
    const heap = this.#heap;
    if (this.#scratch === undefined) {
      const scales = heap.alloc(4 * rows);
      kernel.inverseLengths(address, rows, 4 * stride, scales);
      const [queries, scores] = [heap.alloc(4 * stride * QUERIES), heap.alloc(4 * rows * QUERIES)];
      this.#scratch = { scales, queries, scores, places: 0 };
    }
    return { ...this.#scratch, places: heap.alloc(4 * Math.min(count, rows)) };
  }
}
