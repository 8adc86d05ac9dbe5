// Rows of columns in memory, in their order or mixed by a seed.
import { bytesOf } from "../engine/plan.ts";
import { type Heap, instantiate } from "../memory/index.ts";
import type { Decoder, NewDecoder } from "./decoder.ts";
import { memoryFile } from "./files.ts";
import type { BatchLayout } from "./layout.ts";
import type { FileRange } from "./ring.ts";
import type { TensorSpec } from "./spec.ts";
import { rowFractions } from "./units.ts";

interface ShuffleKernel {
  permute(order: number, n: number, seed: number): void;
}

interface Column {
  readonly source: Uint8Array;
  /** Bytes of a row. */
  readonly bytes: number;
  /** Of the column in a slot. */
  readonly offset: number;
}

class TensorDecoder implements Decoder {
  readonly #heap: Heap;
  readonly #target: Uint8Array;
  readonly #columns: readonly Column[];
  readonly #rowBytes: number;
  /** The rows that the filters let through start here. */
  readonly #first: number;
  /** Address of the order of the rows from the first on, and a view of it; none where they keep their order. */
  readonly #orderAddress: number;
  readonly #order: Uint32Array | undefined;
  #range: FileRange = { file: 0, start: 0, end: 0 };
  #at = 0;

  constructor(heap: Heap, spec: TensorSpec, layout: BatchLayout) {
    this.#heap = heap;
    this.#target = heap.u8(0, heap.capacity);
    this.#columns = spec.columns.map(({ name, dtype, shape, data }) => ({
      source: new Uint8Array(data),
      bytes: shape.reduce((a, b) => a * b, bytesOf[dtype]),
      offset: layout.columns.find((column) => column.name === name)!.offset,
    }));
    this.#rowBytes = this.#columns.reduce((sum, { bytes }) => sum + bytes, 0);
    const { from, to } = rowFractions(memoryFile(spec), spec);
    this.#first = from;
    this.#orderAddress = spec.shuffle === undefined ? 0 : heap.alloc(4 * Math.max(1, to - from));
    if (spec.shuffle === undefined) return;
    instantiate<ShuffleKernel>("shuffle-rows", heap).permute(this.#orderAddress, to - from, spec.shuffle);
    this.#order = heap.u32(this.#orderAddress, to - from);
  }

  async open(_: unknown, range: FileRange): Promise<void> {
    this.#range = range;
    this.#at = range.start;
  }

  fill(address: number, row: number, most: number): number {
    const count = Math.min(most, this.#range.end - this.#at);
    for (const { source, bytes, offset } of this.#columns) {
      const to = address + offset + row * bytes;
      if (this.#order === undefined) {
        this.#target.set(source.subarray(this.#at * bytes, (this.#at + count) * bytes), to);
        continue;
      }
      for (let i = 0; i < count; i++) {
        const from = (this.#first + this.#order[this.#at - this.#first + i]!) * bytes;
        this.#target.set(source.subarray(from, from + bytes), to + i * bytes);
      }
    }
    this.#at += count;
    return count;
  }

  async advance(): Promise<boolean> {
    return false;
  }

  get position(): number {
    return this.#at;
  }

  get fileBytes(): number {
    return (this.#at - this.#range.start) * this.#rowBytes;
  }

  close(): void {}

  free(): void {
    if (this.#orderAddress !== 0) this.#heap.free(this.#orderAddress);
  }
}

export const newTensorDecoder: NewDecoder = (heap, spec, layout) => new TensorDecoder(heap, spec as TensorSpec, layout);
