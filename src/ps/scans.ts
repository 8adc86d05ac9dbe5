// Reading whole rows in the order of keys, and writing them: how tables are saved, loaded and moved between partitions.
import type { Heap } from "../memory/index.ts";
import { RpcError } from "../net/index.ts";
import type { PlacedColumn } from "../table/index.ts";
import type { InspectReply, ScanReply, ScanRequest } from "./requests.ts";
import { encodeRows, type RowChunk } from "./row-messages.ts";
import type { RowStore } from "./row-store.ts";
import type { Scratch } from "./scratch.ts";
import { splitKernel } from "./split.ts";
import type { TablePart } from "./table-part.ts";
import { savedKeys } from "./upkeep.ts";
import { gatherKernel } from "./whole-rows.ts";

/** Added to a table's number: its statistics instead of its weights, in `RowChunk.table`. */
export const STATISTICS_OF = 2 ** 31;
export const statisticsColumns = ["show", "click", "unseen", "delta"] as const;
/** The most scans at once: whoever died in the middle of one ends none. */
const MAX_SCANS = 16;
const BLOCK = 4096;

interface Scan {
  readonly table: number;
  readonly statistics: boolean;
  readonly keys: number;
  readonly n: number;
}

/** A column of a table, and the store whose rows have it. */
interface Column extends PlacedColumn {
  readonly store: RowStore;
}

/** Columns as checkpoints have them: of each field, in the table's order, weights and slots. */
function columnsOf(table: TablePart): Column[] {
  const { fields } = table.served.spec;
  return fields.flatMap(({ name }, index) => {
    const { store } = table.groups.find((group) => group.fields.includes(index))!;
    return store.columns
      .filter((column) => column.name === name || column.name.startsWith(`${name}.`))
      .map((column) => ({ ...column, store }));
  });
}

function statisticsOf({ primary }: TablePart): Column[] {
  if (primary === undefined || primary.statistics < 0) return [];
  return statisticsColumns.map((name, i) => ({ name, width: 1, offset: primary.statistics + 4 * i, store: primary }));
}

export class Scans {
  readonly #heap: Heap;
  readonly #scratch: Scratch;
  readonly #scans = new Map<number, Scan>();
  #next = 1;

  constructor(heap: Heap, scratch: Scratch) {
    this.#heap = heap;
    this.#scratch = scratch;
  }

  begin(tables: readonly TablePart[], { table: index, mode = "all", statistics = false }: ScanRequest): ScanReply {
    const table = expectTable(tables, index);
    if (this.#scans.size >= MAX_SCANS) this.end(this.#scans.keys().next().value!);
    const columns = statistics ? statisticsOf(table) : columnsOf(table);
    const all = savedKeys(this.#heap, this.#scratch, table, { mode, seen: statistics });
    const n = columns.length === 0 ? 0 : all.n;
    const scan = this.#next++;
    this.#scans.set(scan, { table: index, statistics, keys: all.keys, n });
    return { scan, rows: n, columns: columns.map(({ name, width }) => ({ name, width })) };
  }

  /** Rows `first` to `first + rows` of the scan. */
  rows(tables: readonly TablePart[], request: { scan: number; first: number; rows: number }): Uint8Array[] {
    const scan = this.#scans.get(request.scan);
    if (scan === undefined) throw new RpcError("refused", `there is no scan ${request.scan} any more; begin one`);
    // The one that nobody has read for longest is the first to go.
    this.#scans.delete(request.scan);
    this.#scans.set(request.scan, scan);
    const table = tables[scan.table]!;
    const first = Math.min(request.first, scan.n);
    const n = Math.min(request.rows, scan.n - first);
    const columns = scan.statistics ? statisticsOf(table) : columnsOf(table);
    const keys = scan.keys + 8 * first;
    const values = columns.map(({ width }) => new Float32Array(n * width));
    for (let at = 0; at < n; at += BLOCK) this.#read(keys + 8 * at, Math.min(BLOCK, n - at), columns, values, at);
    return encodeRows({
      table: scan.table + (scan.statistics ? STATISTICS_OF : 0),
      keys: this.#heap.u64(keys, n).slice(),
      columns: columns.map(({ width }, i) => ({ width, values: values[i]! })),
    });
  }

  end(id: number): void {
    const scan = this.#scans.get(id);
    this.#scans.delete(id);
    if (scan !== undefined) this.#heap.free(scan.keys);
  }

  /** Writes rows as they are; those of other partitions are left out. */
  put(tables: readonly TablePart[], chunk: RowChunk, own: { partition: number; partitions: number }): void {
    const statistics = chunk.table >= STATISTICS_OF;
    const table = expectTable(tables, chunk.table % STATISTICS_OF);
    const columns = statistics ? statisticsOf(table) : columnsOf(table);
    const widths = columns.map(({ width }) => width);
    if (chunk.columns.length !== widths.length || chunk.columns.some(({ width }, i) => width !== widths[i])) {
      const found = chunk.columns.map(({ width }) => width);
      const { name } = table.served.spec;
      throw new RpcError("malformed", `rows of table "${name}" have columns of ${found} numbers, expected ${widths}`);
    }
    const rows = chunk.keys.length;
    for (let first = 0; first < rows; first += BLOCK) {
      this.#put(chunk, first, Math.min(BLOCK, rows - first), columns, own);
      this.#scratch.reset();
    }
  }

  /** One row for people. */
  inspect(tables: readonly TablePart[], { table: index, key }: { table: number; key: string }): InspectReply {
    const table = expectTable(tables, index);
    const number = BigInt(key);
    if (number >= 2n ** 64n) throw new RpcError("malformed", `inspect: key ${key} has more than 64 bits`);
    const keys = this.#scratch.take(8);
    this.#heap.u64(keys, 1)[0] = number;
    const read = (columns: readonly Column[]): Record<string, number[]> => {
      const present = columns.filter(({ store }) => this.#has(store, keys));
      const values = present.map(({ width }) => new Float32Array(width));
      this.#read(keys, 1, present, values, 0);
      return Object.fromEntries(present.map(({ name }, i) => [name, [...values[i]!]]));
    };
    try {
      const columns = read(columnsOf(table));
      const statistics = Object.entries(read(statisticsOf(table))).map(([name, [value]]) => [name, value]);
      const found = Object.keys(columns).length > 0;
      return {
        found,
        columns,
        ...(statistics.length > 0 && { statistics: Object.fromEntries(statistics) }),
        spilled: table.stores.some((store) => store.onDisk(keys)),
      };
    } finally {
      this.#scratch.reset();
    }
  }

  #has(store: RowStore, key: number): boolean {
    const row = this.#scratch.take(4);
    store.peek(key, 1, row);
    return this.#heap.u32(row, 1)[0] !== store.table.zeroRow;
  }

  #read(keys: number, n: number, columns: readonly Column[], values: readonly Float32Array[], at: number): void {
    const mark = this.#scratch.mark();
    const handles = new Map<RowStore, number>();
    for (const [i, { store, offset, width }] of columns.entries()) {
      let rows = handles.get(store);
      if (rows === undefined) {
        rows = this.#scratch.take(4 * n);
        store.peek(keys, n, rows);
        handles.set(store, rows);
      }
      const out = this.#scratch.take(4 * n * width);
      gatherKernel(this.#heap).gather(rows, n, offset, width, out, 4 * width);
      values[i]!.set(this.#heap.f32(out, n * width), at * width);
    }
    this.#scratch.release(mark);
  }

  #put(
    chunk: RowChunk,
    first: number,
    count: number,
    columns: readonly Column[],
    { partition, partitions }: { partition: number; partitions: number },
  ): void {
    const scratch = this.#scratch;
    const all = scratch.take(8 * count);
    this.#heap.u64(all, count).set(chunk.keys.subarray(first, first + count));
    const places = scratch.take(4 * count);
    const kept = splitKernel(this.#heap).keep(all, count, partitions, partition, places) >>> 0;
    const order = this.#heap.u32(places, kept).filter((place) => chunk.keys[first + place] !== 0n);
    for (const store of new Set(columns.map((column) => column.store))) {
      const own = columns
        .map((column, i) => ({ ...column, values: chunk.columns[i]!.values }))
        .filter((c) => c.store === store);
      // Rows that a feature had not earned were saved as zeros.
      const gated = store.columns.length > 0 && chunk.table < STATISTICS_OF && store.statistics < 0;
      const chosen = gated ? order.filter((place) => own.some((c) => anyIn(c.values, first + place, c.width))) : order;
      const n = chosen.length;
      const keys = scratch.take(8 * n);
      const rows = scratch.take(4 * n);
      this.#heap.u64(keys, n).set(BigUint64Array.from(chosen, (place) => chunk.keys[first + place]!));
      store.find(keys, n, rows, true);
      for (const { offset, width, values } of own) {
        const out = scratch.take(4 * n * width);
        const view = this.#heap.f32(out, n * width);
        for (const [i, place] of chosen.entries()) {
          const at = (first + place) * width;
          view.set(values.subarray(at, at + width), i * width);
        }
        gatherKernel(this.#heap).put(rows, n, offset, width, out, 4 * width);
      }
    }
  }
}

function anyIn(values: Float32Array, row: number, width: number): boolean {
  for (let i = row * width; i < (row + 1) * width; i++) if (values[i] !== 0) return true;
  return false;
}

function expectTable(tables: readonly TablePart[], index: number): TablePart {
  const table = tables[index];
  if (table === undefined) throw new RpcError("malformed", `there is no table ${index}; there are ${tables.length}`);
  return table;
}
