// Makes a batch ready for a step: its distinct ids, in the order of partitions, and the handles by which the step will
// find the rows that are pulled for them.
import type { Heap } from "../../memory/index.ts";
import { type Converter, converterOf } from "../halves.ts";
import { pullReplyOffsets, type SparsePull, type WireType, wireBytes } from "../messages.ts";
import type { ServedModel } from "../spec.ts";
import { type SplitKernel, splitKernel } from "../split.ts";
import { Blocks } from "./blocks.ts";
import { MAP_ENTRY_BYTES, mapMask, type WorkerKernel, workerKernel } from "./kernel.ts";
import { type PreparedLayout, type PreparedTable, type WorkerTable, workerTable } from "./plan.ts";

/** Row handles are addresses in units of it. */
const HANDLE_UNIT = 16;

/** A table in a partition's request, and where its rows go. */
export interface PulledTable {
  readonly section: SparsePull;
  readonly slot: number;
  readonly table: PreparedTable;
  /** The partition's first place in the sorted ids. */
  readonly first: number;
}

export interface PreparerOptions {
  readonly heap: Heap;
  readonly model: Pick<ServedModel, "tables" | "partitions">;
  readonly layout: PreparedLayout;
  /** Of each table, by which its empty row is known. */
  readonly zeroRows: readonly number[];
  readonly wire: WireType;
}

export class Preparer {
  readonly #heap: Heap;
  readonly #options: PreparerOptions;
  readonly #kernel: WorkerKernel;
  readonly #split: SplitKernel;
  readonly #convert: Converter;
  readonly #tables: readonly WorkerTable[];
  readonly #blocks: Blocks;
  readonly #map: number;
  readonly #owners: number;
  readonly #staged: number;
  readonly #rows: number;

  constructor(options: PreparerOptions) {
    const { heap, model, layout } = options;
    this.#heap = heap;
    this.#options = options;
    this.#kernel = workerKernel(heap);
    this.#split = splitKernel(heap);
    this.#convert = converterOf(heap);
    this.#tables = model.tables.map(workerTable);
    this.#blocks = new Blocks(heap);
    const most = Math.max(1, ...layout.tables.map((table) => table.most));
    const values = Math.max(1, ...layout.tables.map(({ table, most }) => most * this.#tables[table]!.width));
    this.#map = this.#blocks.take(MAP_ENTRY_BYTES * (mapMask(most) + 1));
    this.#owners = this.#blocks.take(4 * most);
    this.#staged = this.#blocks.take(4 * values);
    this.#rows = this.#blocks.take(4 * values);
  }

  free(): void {
    this.#blocks.free();
  }

  /** Finds the distinct ids of the batch whose columns lie at the slot's start, and writes handles and order. */
  number(slot: number): void {
    const { layout, zeroRows, model } = this.#options;
    for (const place of layout.tables) {
      const { table, most } = place;
      const mask = mapMask(most);
      const { strideBytes } = this.#tables[table]!.layout;
      this.#kernel.clear(this.#map, MAP_ENTRY_BYTES * (mask + 1));
      let count = 0;
      for (const { table: of, ids, occurrences, handles } of layout.lookups) {
        if (of !== table) continue;
        const [first, step] = [(slot + place.rows) / HANDLE_UNIT, strideBytes / HANDLE_UNIT];
        const map = [this.#map, mask, slot + place.ids, count] as const;
        count =
          this.#kernel.handles(slot + ids, occurrences, ...map, first, step, zeroRows[table]!, slot + handles) >>> 0;
      }
      const [starts, order] = [slot + place.starts, slot + place.order];
      this.#split.split(slot + place.ids, count, model.partitions, this.#owners, starts, order);
      this.#split.takeKeys(slot + place.ids, order, count, slot + place.sorted);
    }
  }

  /** What is to be pulled from a partition for a slot. */
  pulls(slot: number, partition: number): PulledTable[] {
    const { layout, model, wire } = this.#options;
    return layout.tables.flatMap((table): PulledTable[] => {
      const starts = this.#heap.u32(slot + table.starts, model.partitions + 1);
      const first = starts[partition]!;
      const n = starts[partition + 1]! - first;
      if (n === 0) return [];
      const { fields, width } = this.#tables[table.table]!;
      const keys = this.#heap.u64(slot + table.sorted + 8 * first, n);
      const section = { table: table.table, fields: fields.map((_, i) => i), width, wire, keys };
      return [{ section, slot, table, first }];
    });
  }

  /** Writes pulled values to where the handles point. @param values of the section, in the wire's type */
  put({ section, slot, table, first }: PulledTable, values: Uint8Array): void {
    const n = section.keys.length;
    const { fields, width, layout } = this.#tables[section.table]!;
    const { wire } = section;
    const into = wire === "f32" ? this.#rows : this.#staged;
    this.#heap.u8(into, n * width * wireBytes[wire]).set(values);
    if (wire !== "f32") this.#convert.toF32(wire, into, n * width, this.#rows);
    const order = slot + table.order + 4 * first;
    let from = this.#rows;
    for (const { offset, dim } of fields) {
      const to = slot + table.rows + offset;
      this.#kernel.spreadRows(from, 4 * width, order, n, 4 * dim, to, layout.strideBytes);
      from += 4 * dim;
    }
  }

  /** Rows without any weight become the empty row: for evaluation, where servers have no row for an id. */
  blank(slot: number): void {
    const { layout, zeroRows } = this.#options;
    for (const { table, handles, occurrences } of layout.lookups) {
      const { fields } = this.#tables[table]!;
      const bytes = Math.max(...fields.map(({ offset, dim }) => offset + 4 * dim));
      this.#kernel.blankZeros(slot + handles, occurrences, bytes, zeroRows[table]!);
    }
  }
}

/** Gives each table of a reply its values. */
export function putReply(preparer: Preparer, pulled: readonly PulledTable[], reply: Uint8Array): void {
  const { offsets } = pullReplyOffsets(pulled.map(({ section }) => section));
  for (const [i, table] of pulled.entries()) {
    const { keys, width, wire } = table.section;
    const bytes = keys.length * width * wireBytes[wire];
    preparer.put(table, reply.subarray(offsets[i]!, offsets[i]! + bytes));
  }
}
