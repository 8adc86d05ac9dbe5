// Rows on disk: a file of records (key, row) of one size, an index of them in memory, and a list of free records. It is an
// extension of memory, not a store: it is made anew at every start.
import { closeSync, ftruncateSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import type { Heap } from "../memory/index.ts";
import { type RecordsKernel, recordsKernel, type Span } from "./kernels.ts";

type Transfer = (file: number, bytes: Uint8Array, offset: number, length: number, position: number) => number;

/** A record: the key, 8 bytes unused, the row. */
export const RECORD_HEADER = 16;
const NONE = 0xffffffff;
const SLOT_BYTES = 16;
const FIRST_SLOTS = 1024;
/** The index grows when it is fuller. */
const FULL = 0.7;

export class SlabFile {
  readonly recordBytes: number;
  readonly #heap: Heap;
  readonly #path: string;
  readonly #file: number;
  readonly #kernel: RecordsKernel;
  #map: number;
  #slots = FIRST_SLOTS;
  #count = 0;
  /** Records of the file, also free ones. */
  #records = 0;
  #free: number[] = [];

  constructor(heap: Heap, path: string, rowBytes: number) {
    this.#heap = heap;
    this.#path = path;
    this.recordBytes = RECORD_HEADER + rowBytes;
    this.#kernel = recordsKernel(heap);
    this.#file = openSync(path, "w+");
    this.#map = heap.alloc(FIRST_SLOTS * SLOT_BYTES);
  }

  /** Rows on disk. */
  get count(): number {
    return this.#count;
  }

  get diskBytes(): number {
    return this.#records * this.recordBytes;
  }

  get memoryBytes(): number {
    return this.#slots * SLOT_BYTES;
  }

  /** Writes `n` records. Their keys must not be in the file yet. @param numbers scratch u32 [n] */
  write(records: number, n: number, numbers: number): void {
    if (n === 0) return;
    this.#grow(this.#count + n);
    const own = this.#heap.u32(numbers, n);
    const reused = this.#free.splice(Math.max(0, this.#free.length - n)).sort((a, b) => a - b);
    own.set(reused);
    for (let i = reused.length; i < n; i++) own[i] = this.#records++;
    this.#kernel.put(this.#map, this.#slots - 1, records, this.recordBytes, n, numbers);
    this.#count += n;
    eachRun(own, (first, count) => this.#transfer(writeSync, records + first * this.recordBytes, own[first]!, count));
  }

  /**
   * Of `n` keys and places, keeps those whose rows are here, and writes where to `numbers` u32 [n]; returns how many.
   */
  find(keys: number, places: number, n: number, numbers: number): number {
    if (this.#kernel.find(this.#map, this.#slots - 1, keys, n, numbers) === 0) return 0;
    return this.#kernel.compact(keys, numbers, places, n) >>> 0;
  }

  /** Reads the records of `n` numbers. */
  read(numbers: number, n: number, records: number): void {
    const own = this.#heap.u32(numbers, n);
    eachRun(own, (first, count) => this.#transfer(readSync, records + first * this.recordBytes, own[first]!, count));
  }

  /** Writes records back to where they were read. */
  rewrite(numbers: number, n: number, records: number): void {
    const own = this.#heap.u32(numbers, n);
    eachRun(own, (first, count) => this.#transfer(writeSync, records + first * this.recordBytes, own[first]!, count));
  }

  /** Forgets the rows of `n` keys, `step` bytes apart, which are in the file as `numbers`; a key may come twice. */
  remove(keys: number, step: number, numbers: number, n: number): void {
    this.#count -= this.#kernel.remove(this.#map, this.#slots - 1, keys, step, n, numbers) >>> 0;
    if (this.#count === 0) {
      this.#free = [];
      this.#records = 0;
      ftruncateSync(this.#file, 0);
    } else for (const record of this.#heap.u32(numbers, n)) if (record !== NONE) this.#free.push(record);
  }

  /** All rows, read in stretches of at most `rows`, with the numbers of their records. */
  *stretches(rows: number): Generator<{ span: Span; numbers: number }> {
    const { recordBytes } = this;
    const count = this.#count;
    if (count === 0) return;
    // Not scratch memory, which others use meanwhile.
    const block = this.#heap.alloc(Math.min(rows, count) * recordBytes + 4 * count);
    try {
      const all = block + Math.min(rows, count) * recordBytes;
      this.#kernel.list(this.#map, this.#slots - 1, all);
      this.#heap.u32(all, count).sort();
      for (let first = 0; first < count; first += rows) {
        const n = Math.min(rows, count - first);
        this.read(all + 4 * first, n, block);
        yield { span: [block, recordBytes, block + RECORD_HEADER, recordBytes, n], numbers: all + 4 * first };
      }
    } finally {
      this.#heap.free(block);
    }
  }

  dispose(): void {
    closeSync(this.#file);
    rmSync(this.#path, { force: true });
    this.#heap.free(this.#map);
  }

  #transfer(call: Transfer, pointer: number, record: number, count: number): void {
    const bytes = this.#heap.u8(pointer, count * this.recordBytes);
    let done = 0;
    while (done < bytes.length) {
      const moved = call(this.#file, bytes, done, bytes.length - done, record * this.recordBytes + done);
      if (moved === 0) throw new Error(`${this.#path} ends in the middle of a row; was it cut while it was in use?`);
      done += moved;
    }
  }

  #grow(count: number): void {
    if (count <= this.#slots * FULL) return;
    const slots = 2 ** Math.ceil(Math.log2(count / FULL + 1));
    const map = this.#heap.alloc(slots * SLOT_BYTES);
    this.#kernel.move(this.#map, this.#slots - 1, map, slots - 1);
    this.#heap.free(this.#map);
    this.#map = map;
    this.#slots = slots;
  }
}

/** Calls back for each run of numbers that follow each other. */
function eachRun(numbers: Uint32Array, call: (first: number, count: number) => void): void {
  for (let first = 0; first < numbers.length; ) {
    let end = first + 1;
    while (end < numbers.length && numbers[end] === numbers[end - 1]! + 1) end++;
    call(first, end - first);
    first = end;
  }
}
