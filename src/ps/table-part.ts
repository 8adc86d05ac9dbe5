// A partition's part of one served table: pulls and pushes of batches of rows, statistics, admission. Fields that are
// always admitted share rows with the statistics; fields that features must earn have rows of their own, so that a feature
// which does not get them costs no memory for them.
import type { Heap } from "../memory/index.ts";
import type { TableField } from "../table/index.ts";
import { type BatchKernel, batchKernel } from "./kernels.ts";
import type { TableStatistics } from "./requests.ts";
import { RowStore } from "./row-store.ts";
import { BoundRule } from "./rules.ts";
import type { Scratch } from "./scratch.ts";
import { type Accessor, type Admission, admissionsOf, type PsMode, type ServedTable } from "./spec.ts";

/** Rows of a pull that are handled together: their initial weights are made in scratch memory. */
const BLOCK_ROWS = 4096;
const BLOCK_BYTES = 1 << 22;

/** Rows whose fields have the same admission. */
interface Group {
  readonly store: RowStore;
  readonly admission: Admission;
  /** Places in the table's list of fields. */
  readonly fields: readonly number[];
  readonly missing: "initial" | "zeros";
}

export interface SparseBatch {
  readonly fields: readonly number[];
  readonly width: number;
  readonly n: number;
  /** Pointers into the heap. */
  readonly keys: number;
}

export interface SparseGradientBatch extends SparseBatch {
  /** f32 [n, width] */
  readonly values: number;
  /** f32 [n], or 0: one each, and none. */
  readonly shows: number;
  readonly clicks: number;
}

export interface TablePartOptions {
  readonly mode: PsMode;
  /** A prefix for files of rows that memory has no room for; undefined: all rows stay in memory. */
  readonly spillPath?: string | undefined;
}

export class TablePart {
  readonly served: ServedTable;
  /** Where the statistics are; undefined: there are none and no field is always admitted. */
  readonly primary: RowStore | undefined;
  readonly stores: readonly RowStore[];
  readonly groups: readonly Group[];
  pulledRows = 0;
  pushedRows = 0;
  readonly #scratch: Scratch;
  readonly #batch: BatchKernel;
  readonly #mode: PsMode;
  readonly #rules: ReadonlyMap<number, BoundRule>;

  /** @throws RangeError when the heap is full; Error when a rule makes no sense */
  constructor(heap: Heap, scratch: Scratch, served: ServedTable, options: TablePartOptions) {
    this.#scratch = scratch;
    this.#batch = batchKernel(heap);
    this.#mode = options.mode;
    this.served = served;
    const { spec, accessor, rules } = served;
    const byAdmission = new Map<string, { admission: Admission; fields: number[] }>();
    for (const [field, admission] of admissionsOf(served).entries()) {
      const key = JSON.stringify(admission);
      const group = byAdmission.get(key) ?? { admission, fields: [] };
      byAdmission.set(key, group);
      group.fields.push(field);
    }
    const statistics = accessor !== undefined || [...byAdmission.values()].some(({ admission }) => byShows(admission));
    const newStore = (fields: readonly TableField[], own: boolean, name: string): RowStore =>
      new RowStore(
        heap,
        scratch,
        { ...spec, fields },
        {
          statistics: own && statistics,
          changes: own && options.mode === "geo",
          spillPath: options.spillPath === undefined ? undefined : `${options.spillPath}${name}.rows`,
        },
      );
    const groups = [...byAdmission.values()].map(({ admission, fields }, i): Group => {
      const always = admission.kind === "always";
      const store = newStore(
        fields.map((field) => spec.fields[field]!),
        always,
        `-${i}`,
      );
      return { store, admission, fields, missing: served.missing ?? (always ? "initial" : "zeros") };
    });
    const always = groups.find(({ admission }) => admission.kind === "always")?.store;
    this.groups = groups;
    this.primary = always ?? (statistics ? newStore([], true, "-seen") : undefined);
    this.stores = [...new Set([...(this.primary ? [this.primary] : []), ...groups.map(({ store }) => store)])];
    this.#rules = new Map(
      groups.flatMap(({ store, fields }) =>
        fields.flatMap((field) => {
          const { name } = spec.fields[field]!;
          const rule = rules[name];
          return rule === undefined ? [] : [[field, new BoundRule(heap, rule, store.table.field(name))] as const];
        }),
      ),
    );
  }

  get accessor(): Accessor | undefined {
    return this.served.accessor;
  }

  /** Sum of the dims of fields, or undefined when they are none of the table's, ascending. */
  widthOf(fields: readonly number[]): number | undefined {
    const all = this.served.spec.fields;
    if (fields.length === 0 || fields.some((field) => field >= all.length)) return undefined;
    return fields.reduce((sum, field) => sum + all[field]!.dim, 0);
  }

  /**
   * Weights to out f32 [n, width].
   * @param readOnly nothing is created, moved or counted
   * @param zeros what is missing gives zeros in any case: an evaluation takes an unknown feature for none
   */
  pull(batch: SparseBatch, out: number, readOnly: boolean, zeros: boolean = false): void {
    const { n, keys, width } = batch;
    if (!readOnly) this.pulledRows += n;
    for (const group of this.groups) {
      const fields = this.#placed(batch, group);
      if (fields.length === 0) continue;
      const { strideBytes } = group.store.table.layout;
      const block = Math.max(1, Math.min(BLOCK_ROWS, Math.floor(BLOCK_BYTES / strideBytes)));
      const rows = this.#scratch.take(4 * block);
      const initial = group.missing === "initial" && !zeros ? this.#scratch.take(block * strideBytes) : 0;
      for (let first = 0; first < n; first += block) {
        const count = Math.min(block, n - first);
        const mark = this.#scratch.mark();
        this.#look(group, keys + 8 * first, count, rows, readOnly);
        if (initial !== 0) group.store.table.initial(keys + 8 * first, count, rows, initial);
        for (const { name, at } of fields) {
          group.store.table.gather(name, rows, count, out + 4 * (first * width + at), 4 * width);
        }
        this.#scratch.release(mark);
      }
    }
  }

  /**
   * Applies gradients, or in mode `geo` differences. Keys are unique.
   * @param step optimizer steps done before
   * @param draw a number that differs between pushes, of admission by chance
   */
  push(batch: SparseGradientBatch, step: number, draw: number, author: number): void {
    const { n, keys, values, shows, clicks, width } = batch;
    this.pushedRows += n;
    const { primary, served } = this;
    const seen = primary === undefined ? 0 : this.#scratch.take(4 * n);
    if (primary !== undefined) {
      primary.find(keys, n, seen, true);
      this.#batch.blank(seen, n, primary.table.zeroRow);
      const { nonClick, click } = this.accessor ?? { nonClick: 1, click: 1 };
      if (primary.statistics >= 0) {
        this.#batch.addStatistics(seen, n, primary.statistics, shows, clicks, nonClick, click);
      }
    }
    if (served.perShow && shows !== 0) this.#batch.divideRows(values, n, width, shows);
    for (const group of this.groups) {
      const fields = this.#placed(batch, group);
      if (fields.length === 0) continue;
      const { store } = group;
      const rows = store === primary ? seen : this.#admitted(group, keys, n, seen, draw);
      for (const { index, name, at } of fields) {
        if (this.#mode !== "geo") this.#rules.get(index)!.apply(rows, values + 4 * at, n, width, step);
        else {
          const { offset, dim } = store.table.field(name);
          this.#batch.addToRows(rows, n, offset, dim, values + 4 * at, 4 * width);
        }
      }
    }
    if (this.#mode === "geo") this.changed(seen, keys, n, author);
  }

  /** Rows with weights of any field, where these must be earned those of the field that most have. */
  get rows(): number {
    return Math.max(...this.groups.map(({ store }) => store.rows));
  }

  statistics(): TableStatistics {
    const { stores, rows } = this;
    const sum = (of: (store: RowStore) => number): number => stores.reduce((total, store) => total + of(store), 0);
    const found = sum((store) => store.found);
    return {
      name: this.served.spec.name,
      rows,
      spilled: sum(({ spilled }) => spilled),
      candidates: Math.max(0, (this.primary?.rows ?? 0) - rows),
      bytes: sum(({ bytes }) => bytes),
      diskBytes: sum(({ diskBytes }) => diskBytes),
      pulledRows: this.pulledRows,
      pushedRows: this.pushedRows,
      hitShare: found === 0 ? 1 : sum(({ hits }) => hits) / found,
    };
  }

  /** Called with rows that a push has changed, in mode `geo`. */
  changed: (rows: number, keys: number, n: number, author: number) => void = () => {};

  dispose(): void {
    for (const store of this.stores) store.dispose();
    for (const rule of this.#rules.values()) rule.dispose();
  }

  #look({ store, admission }: Group, keys: number, n: number, rows: number, readOnly: boolean): void {
    if (readOnly) store.peek(keys, n, rows);
    else store.find(keys, n, rows, this.served.create === "pull" && admission.kind === "always");
  }

  /** The batch's fields that are in the group, and where they begin in its rows. */
  #placed({ fields }: SparseBatch, group: Group): { index: number; name: string; at: number }[] {
    const all = this.served.spec.fields;
    const placed: { index: number; name: string; at: number }[] = [];
    let at = 0;
    for (const index of fields) {
      const { name, dim } = all[index]!;
      if (group.fields.includes(index)) placed.push({ index, name, at });
      at += dim;
    }
    return placed;
  }

  /** Handles of the rows of a group that features must earn; 0 for those that have not. */
  #admitted({ store, admission }: Group, keys: number, n: number, seen: number, draw: number): number {
    const rows = this.#scratch.take(4 * n);
    const places = this.#scratch.take(4 * n);
    const news = this.#scratch.take(8 * n);
    const { zeroRow } = store.table;
    store.find(keys, n, rows, false);
    let count = this.#batch.missing(rows, keys, n, zeroRow, places, news) >>> 0;
    if (count > 0) count = this.#keep(admission, places, news, count, seen, draw);
    if (count > 0) {
      const made = this.#scratch.take(4 * count);
      store.table.lookup(news, count, made, true);
      this.#batch.placeRows(rows, places, made, count);
    }
    this.#batch.blank(rows, n, zeroRow);
    return rows;
  }

  #keep(admission: Admission, places: number, keys: number, n: number, seen: number, draw: number): number {
    const kernel = this.#batch;
    const offset = this.primary?.statistics ?? -1;
    switch (admission.kind) {
      case "always":
        return n;
      case "probability":
        return kernel.keepByChance(places, keys, n, draw, admission.probability * 2 ** 32) >>> 0;
      case "count":
        return kernel.keepByScore(places, keys, n, seen, offset, 1, 1, admission.count) >>> 0;
      case "score": {
        const { nonClick, click } = this.accessor!;
        return kernel.keepByScore(places, keys, n, seen, offset, nonClick, click, admission.score) >>> 0;
      }
      default:
        return admission satisfies never;
    }
  }
}

const byShows = ({ kind }: Admission): boolean => kind === "count" || kind === "score";
