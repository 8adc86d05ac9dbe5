// Sparse tensors as the largest numbers of a dense one (deep gradient compression, arXiv 1712.01887), as TypeScript sees them:
// kernels bound to a heap, how long a message is, and writing and reading one.
import type { FloatType } from "../kernels/half.ts";
import { type Heap, instantiate } from "../memory/index.ts";
import { type Reduction, reduction, type Wire, wireOf } from "./reduction.ts";

/** Exports of `compression.as.ts`. Addresses of the heap, counts of elements. */
export interface CompressionKernels {
  sumOfSquares(x: number, count: number): number;
  accumulate(
    ...args: [
      ...[g: number, w: number, u: number, v: number, count: number],
      ...[scale: number, momentum: number, decay: number, nesterov: number],
    ]
  ): void;
  largest(x: number, count: number, k: number, list: number, room: number, counts: number): void;
  encode(x: number, list: number, k: number, values: number, steps: number, capacity: number): number;
  takeOut(u: number, v: number, values: number, steps: number, used: number): void;
  addSparse(x: number, count: number, values: number, steps: number, capacity: number, factor: number): number;
  clear(x: number, count: number): void;
}

export const compressionKernels = (heap: Heap): CompressionKernels =>
  instantiate<CompressionKernels>("compression", heap);

const STEP_BYTES = 2;
/** A step of 16 bits goes so far at most. */
const LONGEST_STEP = 65535;
/** Words of counts that a selection uses. */
const COUNTS = 2048;
/** Entries come in groups of so many, which keeps what follows them aligned. */
const GROUP = 4;

/** How many of `count` numbers are sent at a sparsity: at least one. */
export const keptOf = (count: number, sparsity: number): number =>
  Math.min(count, Math.max(1, Math.round(count * (1 - sparsity))));

/** Entries of a message for `kept` of `count` numbers: steps that are too long take several. */
export const capacityOf = (count: number, kept: number): number =>
  GROUP * Math.ceil((kept + Math.floor(count / LONGEST_STEP)) / GROUP);

/** Bytes of so many entries. */
export const entryBytes = (capacity: number, wire: FloatType): number =>
  capacity * (STEP_BYTES + (wire === "f32" ? 4 : 2));

/** Room for candidates: a sample that guesses well finds not many more than are kept. */
const candidates = (count: number, kept: number): number => Math.min(count, 4 * kept + 1024);

/** Memory of a thread that writes and reads messages. */
export class SparseCodec {
  readonly kernels: CompressionKernels;
  readonly #reduction: Reduction;
  readonly #half: Wire["half"];
  readonly #list: number;
  readonly #counts: number;
  /** Values as f32. */
  readonly #values: number;

  /** Bytes of the heap at `address` for tensors of up to `count` numbers, of which up to `kept` are sent. */
  static bytes(count: number, kept: number): number {
    return 4 * (COUNTS + candidates(count, kept) + capacityOf(count, kept));
  }

  constructor(heap: Heap, wire: FloatType, address: number, { count, kept }: { count: number; kept: number }) {
    this.kernels = compressionKernels(heap);
    this.#reduction = reduction(heap);
    this.#half = wireOf(this.#reduction, wire, "sum").half;
    this.#counts = address;
    this.#values = address + 4 * COUNTS;
    this.#list = this.#values + 4 * capacityOf(count, kept);
  }

  /** Writes the `kept` largest of v to `message`, takes what is sent out of v, and makes u 0 there. */
  take(v: number, u: number, count: number, kept: number, message: number): void {
    const { kernels } = this;
    const capacity = capacityOf(count, kept);
    kernels.largest(v, count, kept, this.#list, candidates(count, kept), this.#counts);
    const half = this.#half;
    const values = half === undefined ? message : this.#values;
    const steps = message + (half === undefined ? 4 : 2) * capacity;
    const used = kernels.encode(v, this.#list, kept, values, steps, capacity);
    if (half !== undefined) {
      half.encode(message, values, capacity);
      half.decode(values, message, capacity);
    }
    kernels.takeOut(u, v, values, steps, used);
  }

  /** x += factor · what a message brings. False where it is none for so many numbers. */
  add(x: number, count: number, kept: number, message: number, factor: number): boolean {
    const capacity = capacityOf(count, kept);
    const half = this.#half;
    const values = half === undefined ? message : this.#values;
    const steps = message + (half === undefined ? 4 : 2) * capacity;
    half?.decode(values, message, capacity);
    return this.kernels.addSparse(x, count, values, steps, capacity, factor) === 0;
  }
}
