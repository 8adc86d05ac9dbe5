// The window in which a reader mixes rows: it is filled with decoded rows in their order, and emptied into batches in a
// random one.
import { bytesOf } from "../engine/plan.ts";
import { type Heap, instantiate } from "../memory/index.ts";
import { type BatchLayout, batchLayout, type FeatureWidths } from "./layout.ts";

interface ShuffleKernel {
  permute(order: number, n: number, seed: number): void;
  copyRows(source: number, order: number, n: number, bytes: number, target: number): void;
}

export class ShuffleWindow {
  /** Rows that the window holds: whole batches. */
  readonly capacity: number;
  /** How the rows lie in the window. */
  readonly layout: BatchLayout;
  readonly address: number;
  readonly #heap: Heap;
  readonly #kernel: ShuffleKernel;
  readonly #order: number;
  readonly #slot: BatchLayout;
  #rows = 0;
  #taken = 0;

  /** @param rows at least this many, rounded up to whole batches of `slot` */
  constructor(heap: Heap, slot: BatchLayout, rows: number) {
    this.#heap = heap;
    this.#kernel = instantiate<ShuffleKernel>("shuffle-rows", heap);
    this.#slot = slot;
    this.capacity = Math.ceil(rows / slot.batch) * slot.batch;
    this.layout = batchLayout(this.capacity, widthsOf(slot));
    this.address = heap.alloc(this.layout.bytes);
    this.#order = heap.alloc(4 * this.capacity);
  }

  /** Rows that no batch has taken yet. */
  get left(): number {
    return this.#rows - this.#taken;
  }

  /** The window now holds `rows` new rows, to be taken in the order that the seed gives. */
  filled(rows: number, seed: number): void {
    this.#kernel.permute(this.#order, rows, seed);
    this.#rows = rows;
    this.#taken = 0;
  }

  /** Copies the next rows into the slot at `address`, at most a batch. Returns how many. */
  take(address: number): number {
    const n = Math.min(this.left, this.#slot.batch);
    for (const [i, { offset, width, dtype }] of this.#slot.columns.entries()) {
      const source = this.address + this.layout.columns[i]!.offset;
      this.#kernel.copyRows(source, this.#order + 4 * this.#taken, n, width * bytesOf[dtype], address + offset);
    }
    this.#taken += n;
    return n;
  }

  free(): void {
    this.#heap.free(this.address);
    this.#heap.free(this.#order);
  }
}

function widthsOf({ columns }: BatchLayout): FeatureWidths {
  const widthOf = (name: string): number => columns.find((column) => column.name === name)?.width ?? 0;
  const bags = columns.filter(({ name }) => !["label", "weight", "dense", "categorical"].includes(name));
  return {
    dense: widthOf("dense"),
    categorical: widthOf("categorical"),
    bags: Object.fromEntries(bags.map(({ name, width }) => [name, width])),
  };
}
