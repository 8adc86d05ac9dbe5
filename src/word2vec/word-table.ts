// A growing table of distinct words with their counts, filled by the kernel that reads text.
import { type Heap, instantiate } from "../memory/index.ts";

/** Kernel word2vec-text.as.ts; what each does stands there. */
export interface TextKernel {
  tokenise(table: number, stop: number, end: number, out: number, room: number): number;
  rehash(table: number): void;
  merge(table: number, other: number, from: number, numbers: number): number;
  renumber(ids: number, n: number, numbers: number): void;
  compose(numbers: number, n: number, final: number): void;
  countWords(ids: number, n: number, counts: number): void;
}

/** Kernel word2vec-phrases.as.ts. */
export interface PhraseKernel {
  countPairs(ids: number, n: number, slots: number, mask: number, room: number): number;
  mergePairs(slots: number, mask: number, other: number, otherMask: number): number;
  phrasesOf(
    slots: number,
    mask: number,
    counts: number,
    least: number,
    total: number,
    threshold: number,
    list: number,
    room: number,
  ): number;
  enterPhrases(slots: number, mask: number, list: number, n: number, first: number): void;
  joinPhrases(ids: number, n: number, slots: number, mask: number): void;
}

export const phraseKernel = (heap: Heap): PhraseKernel => instantiate("word2vec-phrases", heap);

export const textKernel = (heap: Heap): TextKernel => instantiate("word2vec-text", heap);

/** What stands in a text beside words. */
export const SENTENCE_END = 0xffffffff;
/** A word that is not in the vocabulary. */
export const UNKNOWN = 0xfffffffe;
/** Nothing: what follows is the neighbour of what went before. */
export const NO_WORD = 0xfffffffd;

// Why `tokenise` returns.
export const TEXT_ENDED = 0;
export const OUTPUT_FULL = 1;
export const TABLE_FULL = 2;
export const NUL_FOUND = 3;

const LONGEST = 255;
const ENTRY_BYTES = 24;
const FIRST_ENTRIES = 1 << 15;
const FIRST_BYTES = 1 << 18;
const NUMBERS = 8;
// Numbers of the table, after its four addresses.
const MASK = 0;
const COUNT = 1;
const CAPACITY = 2;
const BYTES_USED = 3;
const BYTES_ROOM = 4;
const WRITTEN = 5;
const DROPPING = 6;
const TOO_LONG = 7;

export class WordTable {
  /** Where it lies in the heap; another thread attaches to it. */
  readonly pointer: number;
  readonly #heap: Heap;
  readonly #kernel: TextKernel;
  readonly #addresses: Uint32Array | Float64Array;
  readonly #numbers: Uint32Array;

  private constructor(heap: Heap, pointer: number) {
    this.#heap = heap;
    this.#kernel = textKernel(heap);
    this.pointer = pointer;
    this.#addresses = heap.addresses(pointer, 4);
    this.#numbers = heap.u32(pointer + 4 * heap.addressBytes, NUMBERS);
  }

  static create(heap: Heap): WordTable {
    const table = new WordTable(heap, heap.alloc(4 * heap.addressBytes + 4 * NUMBERS));
    const slots = 2 * FIRST_ENTRIES;
    table.#addresses.set([heap.alloc(8 * slots), heap.alloc(ENTRY_BYTES * FIRST_ENTRIES), heap.alloc(FIRST_BYTES)]);
    table.#numbers.set([slots - 1, 0, FIRST_ENTRIES, 0, FIRST_BYTES]);
    return table;
  }

  static attach(heap: Heap, pointer: number): WordTable {
    return new WordTable(heap, pointer);
  }

  /** Distinct words. */
  get size(): number {
    return this.#numbers[COUNT]!;
  }

  /** Words of more than 255 bytes, which were left out. */
  get tooLong(): number {
    return this.#numbers[TOO_LONG]!;
  }

  /** Where the text goes on. */
  get at(): number {
    return this.#addresses[3]!;
  }

  set at(address: number) {
    this.#addresses[3] = address;
  }

  /** Words that the last call of `tokenise` wrote. */
  get written(): number {
    return this.#numbers[WRITTEN]!;
  }

  /** The text begins within a word of the text before, or not. */
  begin(withinWord: boolean): void {
    this.#numbers[DROPPING] = withinWord ? 2 : 0;
  }

  /** As the kernel's, and makes room as needed. */
  tokenise(stop: number, end: number, out: number, room: number): number {
    let written = 0;
    for (;;) {
      const reason = this.#kernel.tokenise(this.pointer, stop, end, out + 4 * written, room - written);
      written += this.written;
      this.#numbers[WRITTEN] = written;
      if (reason !== TABLE_FULL) return reason;
      this.#grow();
    }
  }

  /** Adds another table's words; `numbers` [its size] gets which entry each became. */
  add(other: WordTable, numbers: number): void {
    for (let from = 0; ; ) {
      from = this.#kernel.merge(this.pointer, other.pointer, from, numbers);
      if (from === other.size) return;
      this.#grow();
    }
  }

  #grow(): void {
    const { size } = this;
    const [capacity, used, room] = [this.#numbers[CAPACITY]!, this.#numbers[BYTES_USED]!, this.#numbers[BYTES_ROOM]!];
    if (room - used <= LONGEST) {
      if (room >= 2 ** 31) throw new RangeError("the text has more than 2 GiB of distinct words; is it made of words?");
      this.#addresses[2] = this.#moved(this.#addresses[2]!, used, 2 * room);
      this.#numbers[BYTES_ROOM] = 2 * room;
    }
    if (size < capacity) return;
    this.#addresses[1] = this.#moved(this.#addresses[1]!, size * ENTRY_BYTES, 2 * capacity * ENTRY_BYTES);
    this.#heap.free(this.#addresses[0]!);
    this.#addresses[0] = this.#heap.alloc(8 * 4 * capacity);
    this.#numbers[MASK] = 4 * capacity - 1;
    this.#numbers[CAPACITY] = 2 * capacity;
    this.#kernel.rehash(this.pointer);
  }

  #moved(from: number, used: number, bytes: number): number {
    const to = this.#heap.alloc(bytes);
    this.#heap.u8(to, used).set(this.#heap.u8(from, used));
    this.#heap.free(from);
    return to;
  }

  /** How often each word occurs, by entry. */
  counts(): Float64Array {
    const words = this.#heap.u64(this.#addresses[1]!, 3 * this.size);
    return Float64Array.from({ length: this.size }, (_, entry) => Number(words[3 * entry + 1]!));
  }

  /** The bytes of an entry's word, a copy. */
  bytesOf(entry: number): Uint8Array {
    const words = this.#heap.u32(this.#addresses[1]!, 6 * this.size);
    return this.#heap.u8(this.#addresses[2]! + words[6 * entry + 4]!, words[6 * entry + 5]!).slice();
  }

  free(): void {
    for (let i = 0; i < 3; i++) this.#heap.free(this.#addresses[i]!);
    this.#heap.free(this.pointer);
  }
}
