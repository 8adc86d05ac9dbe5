// What a partition holds of a model: its part of each table, its pieces of dense parameters, who changed what.
import { join } from "node:path";
import type { Heap } from "../memory/index.ts";
import { ChangeLog } from "./changes.ts";
import { DensePart } from "./dense-part.ts";
import { placeDense } from "./placement.ts";
import type { Scratch } from "./scratch.ts";
import type { ServedModel } from "./spec.ts";
import { TablePart } from "./table-part.ts";

/** Of the heap, for rows: the rest is for dense parameters, indexes and requests. */
const MEMORY_SHARE = 0.6;
/** From so much of the limit on it is written down when rows are used: that costs a cache miss a row. */
const STAMP_FROM = 0.5;
/** How far below the limit memory is brought at once. */
const SPILL_TO = 0.9;

export interface HoldingsOptions {
  readonly partition: number;
  /** A folder for rows that memory has no room for; undefined: all rows stay in memory. */
  readonly spillFolder?: string | undefined;
  /** Changes of a table that a reader may lie behind in mode `geo`, a power of two. Default 2^20. */
  readonly changeEntries?: number;
}

export class Holdings {
  tables: readonly TablePart[] = [];
  /** By the parameters' places in the model's list, where this partition has a piece. */
  dense: ReadonlyMap<number, DensePart> = new Map();
  /** Of each table, in mode `geo`. */
  changes: readonly ChangeLog[] = [];
  /** Whether rows go to disk when memory is short. */
  spills = false;
  readonly #scratch: Scratch;
  #maxBytes = 0;

  constructor(scratch: Scratch) {
    this.#scratch = scratch;
  }

  /** Makes empty tables and zeroed parameters. @throws RangeError when the heap is full; Error for a rule that makes no sense */
  serve(heap: Heap, { mode, storage, tables, ...model }: ServedModel, options: HoldingsOptions): void {
    const { partition, spillFolder } = options;
    this.spills = spillFolder !== undefined && storage.spill && mode !== "geo";
    this.#maxBytes = storage.maxBytes ?? MEMORY_SHARE * heap.capacity;
    const own: TablePart[] = [];
    const dense = new Map<number, DensePart>();
    try {
      for (const [i, served] of tables.entries()) {
        const spillPath = this.spills ? join(spillFolder!, `partition-${partition}-table-${i}`) : undefined;
        own.push(new TablePart(heap, this.#scratch, served, { mode, spillPath }));
      }
      for (const piece of placeDense(model)) {
        if (piece.partition !== partition) continue;
        dense.set(piece.dense, new DensePart(heap, model.dense[piece.dense]!, piece, mode));
      }
    } catch (cause) {
      for (const part of [...own, ...dense.values()]) part.dispose();
      throw cause;
    }
    this.tables = own;
    this.dense = dense;
    if (mode !== "geo") return;
    this.changes = own.map((table) => {
      const log = new ChangeLog(heap, this.#scratch, table.primary!, options.changeEntries);
      table.changed = (rows, keys, n, author) => log.mark(rows, keys, n, author);
      return log;
    });
  }

  /** Memory of rows and dense parameters. */
  get bytes(): number {
    let bytes = 0;
    for (const table of this.tables) for (const store of table.stores) bytes += store.bytes;
    for (const { bytes: own } of this.dense.values()) bytes += own;
    return bytes;
  }

  /** Moves cold rows to disk when rows take more memory than they may. */
  enforceLimit(): void {
    if (!this.spills) return;
    const stores = this.tables.flatMap((table) => table.stores);
    const bytes = stores.reduce((sum, store) => sum + store.rowsBytes, 0);
    for (const store of stores) store.stamps = bytes > STAMP_FROM * this.#maxBytes;
    if (bytes <= this.#maxBytes) return;
    const share = (SPILL_TO * this.#maxBytes) / bytes;
    try {
      for (const store of stores) store.spill(share * store.rowsBytes);
    } finally {
      this.#scratch.reset();
    }
  }

  dispose(): void {
    for (const part of [...this.tables, ...this.dense.values(), ...this.changes]) part.dispose();
  }
}
