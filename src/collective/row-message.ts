// The rows of a gradient that a batch has touched, as messages between ranks: how many, their numbers, and what is in them.
import type { FloatType } from "../kernels/half.ts";
import { type Heap, instantiate } from "../memory/index.ts";
import { reduction, type Wire, wireOf } from "./reduction.ts";

/** Exports of `row-message.as.ts`. Addresses of the heap, counts of elements. */
interface RowKernels {
  takeRows(
    ...args: [
      ...[x: number, rows: number, width: number, ids: number, count: number],
      ...[stamps: number, turn: number, list: number, values: number],
    ]
  ): number;
  clearRows(x: number, width: number, list: number, count: number): void;
  addRows(x: number, rows: number, width: number, list: number, count: number, values: number): number;
}

export interface RowShape {
  /** Of the matrix. */
  readonly rows: number;
  readonly width: number;
  /** The most rows that one message brings. */
  readonly most: number;
}

/** In front of a message, which is as long as whole lines of the cache. */
const HEADER_BYTES = 16;
const LINE_BYTES = 64;
const LARGEST_TURN = 2 ** 32 - 1;

/** Bytes of a message. */
export function rowMessageBytes({ width, most }: RowShape, wire: FloatType): number {
  const bytes = HEADER_BYTES + 4 * most + (wire === "f32" ? 4 : 2) * most * width;
  return LINE_BYTES * Math.ceil(bytes / LINE_BYTES);
}

/** Writes and reads the messages of one matrix. */
export class RowCodec {
  readonly #heap: Heap;
  readonly #shape: RowShape;
  readonly #kernels: RowKernels;
  readonly #half: Wire["half"];
  readonly #stamps: number;
  /** Values as f32, where they travel in half precision. */
  readonly #values: number;
  #turn = 0;

  /** Bytes of the heap that a codec works in. */
  static bytes({ rows, width, most }: RowShape): number {
    return 4 * (rows + width * most);
  }

  /** @param address of that memory, all 0 */
  constructor(heap: Heap, shape: RowShape, wire: FloatType, address: number) {
    this.#heap = heap;
    this.#shape = shape;
    this.#kernels = instantiate<RowKernels>("row-message", heap);
    this.#half = wireOf(reduction(heap), wire, "sum").half;
    this.#values = address;
    this.#stamps = address + 4 * shape.width * shape.most;
  }

  /** Writes the rows of the matrix at x that `count` ids touch, each once. */
  take(x: number, ids: number, count: number, message: number): void {
    const { rows, width } = this.#shape;
    if (this.#turn === LARGEST_TURN) {
      this.#heap.u32(this.#stamps, rows).fill(0);
      this.#turn = 0;
    }
    this.#turn++;
    const { list, values } = this.#parts(message);
    const plain = this.#half === undefined ? values : this.#values;
    const taken = this.#kernels.takeRows(x, rows, width, ids, count, this.#stamps, this.#turn, list, plain) >>> 0;
    this.#heap.u32(message, 1)[0] = taken;
    this.#half?.encode(values, plain, width * taken);
  }

  /** Makes the rows of a message 0 in the matrix. */
  clear(x: number, message: number): void {
    this.#kernels.clearRows(x, this.#shape.width, this.#parts(message).list, this.#heap.u32(message, 1)[0]!);
  }

  /** Adds the rows of a message. False where it is none for this matrix. */
  add(x: number, message: number): boolean {
    const { rows, width, most } = this.#shape;
    const taken = this.#heap.u32(message, 1)[0]!;
    if (taken > most) return false;
    const { list, values } = this.#parts(message);
    const plain = this.#half === undefined ? values : this.#values;
    this.#half?.decode(plain, values, width * taken);
    return this.#kernels.addRows(x, rows, width, list, taken, plain) === 0;
  }

  #parts(message: number): { readonly list: number; readonly values: number } {
    const list = message + HEADER_BYTES;
    return { list, values: list + 4 * this.#shape.most };
  }
}
