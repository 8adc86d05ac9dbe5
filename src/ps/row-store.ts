// A table of a partition, owned by one thread: rows in memory, and cold rows on disk once memory is short. Beside the
// fields that users see, rows have hidden ones for statistics, changes and use.
import type { Heap } from "../memory/index.ts";
import {
  columnsOf,
  type PlacedColumn,
  Table,
  type TableField,
  type TableSlab,
  type TableSpec,
} from "../table/index.ts";
import { type BatchKernel, batchKernel, type ScanKernel, type Span, scanKernel } from "./kernels.ts";
import type { Scratch } from "./scratch.ts";
import { RECORD_HEADER, SlabFile } from "./slab-file.ts";

/** Statistics are f32: show, click, unseen days, delta score. */
const STATISTICS = "_statistics";
/** For Geo-SGD: position of the last change, its author, position of the last change by another one. */
const CHANGED = "_changed";
/** When a row was last used, on the partition's clock of requests. */
const USED = "_used";

export interface StoreOptions {
  readonly statistics?: boolean;
  readonly changes?: boolean;
  /** Where rows go that memory has no room for; undefined: nowhere. */
  readonly spillPath?: string | undefined;
}

const hidden = (name: string, dim: number): TableField => ({
  name,
  dim,
  slots: [],
  init: { kind: "zeros", scale: 0 },
});

/** Memory of a row beside itself: its key and its part of the index. */
const OVERHEAD = 8 + 32;
/** Rows that go to disk or come back at once. */
const BATCH = 4096;
const BUCKETS = 65;

export class RowStore {
  readonly table: Table;
  /** Offset of the statistics in the row; −1: none. Also of the changes. */
  readonly statistics: number;
  readonly changes: number;
  /** Columns that users see. */
  readonly columns: readonly PlacedColumn[];
  /** Once rows are on disk: those that were asked for and there, and those of them that were in memory. */
  found = 0;
  hits = 0;
  /** Whether it is written down when rows are used. Those that were not since memory became short are the coldest. */
  stamps = false;
  readonly #heap: Heap;
  readonly #scratch: Scratch;
  readonly #batch: BatchKernel;
  readonly #scan: ScanKernel;
  readonly #used: number;
  readonly #spillPath: string | undefined;
  #file: SlabFile | undefined;
  #clock = 0;

  /** @param fields none: only what is hidden */
  constructor(heap: Heap, scratch: Scratch, spec: TableSpec, options: StoreOptions) {
    const { statistics = false, changes = false, spillPath } = options;
    const fields = [
      ...spec.fields,
      ...(statistics ? [hidden(STATISTICS, 4)] : []),
      ...(changes ? [hidden(CHANGED, 3)] : []),
      ...(spillPath === undefined ? [] : [hidden(USED, 1)]),
    ];
    this.#heap = heap;
    this.#scratch = scratch;
    this.#batch = batchKernel(heap);
    this.#scan = scanKernel(heap);
    this.#spillPath = spillPath;
    this.table = Table.create(heap, { ...spec, fields });
    const { layout } = this.table;
    this.statistics = statistics ? layout.fields[STATISTICS]!.offset : -1;
    this.changes = changes ? layout.fields[CHANGED]!.offset : -1;
    this.#used = spillPath === undefined ? -1 : layout.fields[USED]!.offset;
    this.columns = spec.fields.length === 0 ? [] : columnsOf(spec, layout);
  }

  /** Rows in memory and on disk. */
  get rows(): number {
    return this.table.size() + this.spilled;
  }

  get spilled(): number {
    return this.#file?.count ?? 0;
  }

  /** Memory of the rows that are in memory. */
  get rowsBytes(): number {
    return this.table.size() * this.rowBytes;
  }

  /** The same with the index of the rows on disk. */
  get bytes(): number {
    return this.rowsBytes + (this.#file?.memoryBytes ?? 0);
  }

  get rowBytes(): number {
    return this.table.layout.strideBytes + OVERHEAD;
  }

  get diskBytes(): number {
    return this.#file?.diskBytes ?? 0;
  }

  /**
   * The rows of `n` keys to `rows`; those on disk come back. What is missing gets a new row if `create`, else the zero row.
   */
  find(keys: number, n: number, rows: number, create: boolean): void {
    const { table } = this;
    if (this.spilled === 0) {
      table.lookup(keys, n, rows, create);
      this.#stamp(rows, n);
      return;
    }
    table.lookup(keys, n, rows, false);
    this.#count(rows, n);
    this.#bringBack(keys, n, rows);
    if (create) table.lookup(keys, n, rows, true);
    this.#stamp(rows, n);
  }

  /** As `find` without creating, but rows on disk stay there: their handles are those of copies in scratch memory. */
  peek(keys: number, n: number, rows: number): void {
    this.table.lookup(keys, n, rows, false);
    this.#eachOnDisk(keys, n, rows, ({ records, count, places }) => {
      const handles = this.#scratch.take(4 * count);
      this.#scan.handles(records + RECORD_HEADER, this.#file!.recordBytes, count, handles);
      this.#batch.placeRows(rows, places, handles, count);
    });
  }

  /** Whether a row lies on disk. */
  onDisk(key: number): boolean {
    if (this.#file === undefined) return false;
    const places = this.#scratch.take(4);
    const copy = this.#scratch.take(8);
    this.#heap.u64(copy, 1)[0] = this.#heap.u64(key, 1)[0]!;
    return this.#file.find(copy, places, 1, this.#scratch.take(4)) > 0;
  }

  /** Brings rows in memory below `target` bytes by moving rows to disk that were not used for longest. */
  spill(target: number): void {
    if (this.#used < 0) return;
    let excess = Math.ceil((this.rowsBytes - target) / this.rowBytes);
    if (excess <= 0) return;
    const least = this.#coldBucket(excess);
    const places = this.#scratch.take(4 * this.#largestSlab());
    for (const slab of this.table.slabs()) {
      if (excess <= 0) return;
      const span = this.#spanOf(slab);
      const n = this.#scan.oldest(...span, this.#used, this.#clock, least, excess, places) >>> 0;
      this.#evict(slab, places, n);
      excess -= n;
    }
  }

  /** Moves rows to disk that were unseen for more days. */
  spillUnseen(days: number): void {
    if (this.#used < 0 || this.statistics < 0) return;
    const places = this.#scratch.take(4 * this.#largestSlab());
    for (const slab of this.table.slabs()) {
      const span = this.#spanOf(slab);
      this.#evict(slab, places, this.#scan.unseen(...span, this.statistics, days, places) >>> 0);
    }
  }

  /**
   * Calls back for stretches of all rows; `out` has room for the place or key (8 bytes) of each. Where `each` returns a
   * count, the rows at so many places in `out` (u32) are removed. @param changes whether `each` writes to rows
   */
  visit(each: (span: Span, out: number) => number | undefined, changes: boolean): void {
    const out = this.#scratch.take(8 * Math.max(BATCH, this.#largestSlab()));
    for (const slab of this.table.slabs()) {
      const n = each(this.#spanOf(slab), out);
      if (n !== undefined) this.table.remove(slab, out, n);
    }
    for (const { span, numbers } of this.#file?.stretches(BATCH) ?? []) {
      const dropped = each(span, out);
      const [records, recordBytes, , , n] = span;
      if (changes) this.#file!.rewrite(numbers, n, records);
      if (dropped === undefined) continue;
      for (const place of this.#heap.u32(out, dropped)) {
        this.#file!.remove(records + place * recordBytes, 8, numbers + 4 * place, 1);
      }
    }
  }

  /** All rows in stretches, those on disk in copies of at most `rows`. Ends early where the caller does. */
  *spans(rows: number): Generator<Span> {
    for (const slab of this.table.slabs()) yield this.#spanOf(slab);
    for (const { span } of this.#file?.stretches(rows) ?? []) yield span;
  }

  dispose(): void {
    this.#file?.dispose();
    this.table.detach();
    this.table.dispose();
  }

  #largestSlab(): number {
    return this.table.slabs()[0]?.places ?? 0;
  }

  #spanOf({ keys, rows, places }: TableSlab): Span {
    return [keys, 8, rows, this.table.layout.strideBytes, places];
  }

  #count(rows: number, n: number): void {
    const there = this.#batch.count(rows, n, this.table.zeroRow) >>> 0;
    this.found += there;
    this.hits += there;
  }

  #stamp(rows: number, n: number): void {
    if (!this.stamps || this.#used < 0) return;
    // Also of the zero row, where it does no harm.
    this.#clock = (this.#clock + 1) >>> 0;
    this.#batch.setWord(rows, n, this.#used, this.#clock);
  }

  #bringBack(keys: number, n: number, rows: number): void {
    const file = this.#file!;
    this.#eachOnDisk(keys, n, rows, ({ records, count, keys, places, numbers }) => {
      const handles = this.#scratch.take(4 * count);
      this.table.lookup(keys, count, handles, true);
      this.#scan.unpack(records, this.table.layout.strideBytes, handles, count);
      this.#batch.placeRows(rows, places, handles, count);
      file.remove(keys, 8, numbers, count);
      this.found += count;
    });
  }

  /** Reads the records of those of the keys that have the zero row and are on disk, in stretches. */
  #eachOnDisk(keys: number, n: number, rows: number, visit: (found: OnDisk) => void): void {
    const file = this.#file;
    if (file === undefined || file.count === 0) return;
    const places = this.#scratch.take(4 * n);
    const missing = this.#scratch.take(8 * n);
    const numbers = this.#scratch.take(4 * n);
    const absent = this.#batch.missing(rows, keys, n, this.table.zeroRow, places, missing) >>> 0;
    const found = absent === 0 ? 0 : file.find(missing, places, absent, numbers);
    for (let first = 0; first < found; first += BATCH) {
      const count = Math.min(BATCH, found - first);
      const records = this.#scratch.take(count * file.recordBytes);
      file.read(numbers + 4 * first, count, records);
      const own = { keys: missing + 8 * first, places: places + 4 * first, numbers: numbers + 4 * first };
      visit({ records, count, ...own });
    }
  }

  /** The least bucket of age that `wanted` rows are in or beyond. */
  #coldBucket(wanted: number): number {
    const pointer = this.#scratch.take(4 * BUCKETS);
    const histogram = this.#heap.u32(pointer, BUCKETS).fill(0);
    for (const slab of this.table.slabs()) {
      this.#scan.ages(...this.#spanOf(slab), this.#used, this.#clock, pointer);
    }
    let bucket = BUCKETS - 1;
    for (let rows = histogram[bucket]!; rows < wanted && bucket > 0; rows += histogram[bucket]!) bucket--;
    return bucket;
  }

  #evict(slab: TableSlab, places: number, n: number): void {
    const { strideBytes } = this.table.layout;
    for (let first = 0; first < n; first += BATCH) {
      this.#file ??= new SlabFile(this.#heap, this.#spillPath!, strideBytes);
      const count = Math.min(BATCH, n - first);
      const records = this.#scratch.take(count * this.#file.recordBytes);
      this.#scan.pack(slab.keys, slab.rows, strideBytes, places + 4 * first, count, records);
      this.#file.write(records, count, this.#scratch.take(4 * count));
    }
    this.table.remove(slab, places, n);
  }
}

interface OnDisk {
  readonly records: number;
  readonly count: number;
  readonly keys: number;
  readonly places: number;
  readonly numbers: number;
}
