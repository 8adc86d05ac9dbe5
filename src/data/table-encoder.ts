// Encoding by schema: columns of text and numbers in the heap become rows of a batch. The kernels do the arithmetic;
// this class decides once per block which kernel takes which column where.
import { type Heap, instantiate } from "../memory/index.ts";
import { type FeatureKernel, hashTargets } from "./feature-kernel.ts";
import { type BatchLayout, columnOf } from "./layout.ts";
import { type CategoricalSpec, dateParts, type Schema, type SingleSpec, type TimeUnit, type Where } from "./schema.ts";
import type { TableSpec } from "./spec.ts";

/** A column of a block: addresses of one entry a row. */
export type SourceColumn =
  /** Addresses (`heap.addresses`) and u32 lengths of the texts; seven bytes beyond each may be read. */
  | { readonly kind: "text"; readonly starts: number; readonly lengths: number }
  /** float64, NaN where missing; a time in milliseconds where `isTime`. */
  | { readonly kind: "number"; readonly values: number; readonly isTime: boolean };

const MILLISECONDS: Readonly<Record<TimeUnit, number>> = { s: 1000, ms: 1, us: 1e-3, ns: 1e-6 };
const BYTES_OF_ID = 8;

/** What `codes` of a block may hold after `load`, beside 0 and 255 (filtered). */
export const CODE_NO_NUMBER = 3;
export const CODE_NO_LABEL = 4;

export class TableEncoder {
  /** u8 a row: 0 good; sources may set their own codes 1 and 2 before `load`. */
  readonly codes: number;
  /** u32 a row: with code 3 the index in `numberNames` of the column. */
  readonly details: number;
  readonly #heap: Heap;
  readonly #kernel: FeatureKernel;
  readonly #schema: Schema;
  readonly #where: readonly Where[];
  readonly #buckets: number;
  readonly #layout: BatchLayout;
  readonly #capacity: number;
  readonly #selected: number;
  readonly #hashes: number;
  readonly #targets: { address: number; count: number };
  readonly #bounds = new Map<readonly number[], number>();
  /** float64 blocks by what they hold, and those that are filled for the present block. */
  readonly #numberBlocks = new Map<string, number>();
  #numbers = new Map<string, number>();
  #columns: ReadonlyMap<string, SourceColumn> = new Map();
  #rows = 0;

  /** @param capacity most rows of a block */
  constructor(heap: Heap, spec: TableSpec, layout: BatchLayout, capacity: number) {
    this.#heap = heap;
    this.#kernel = instantiate<FeatureKernel>("encode-features", heap);
    this.#schema = spec.schema;
    this.#where = spec.where;
    this.#buckets = spec.buckets ?? 0;
    this.#layout = layout;
    this.#capacity = capacity;
    this.codes = heap.alloc(capacity);
    this.details = heap.alloc(4 * capacity);
    this.#selected = heap.alloc(4 * (capacity + 1));
    this.#hashes = heap.alloc(BYTES_OF_ID * layout.batch);
    const targets = hashTargets(spec.schema.label?.equals);
    this.#targets = { address: heap.alloc(BYTES_OF_ID * Math.max(1, targets.length)), count: targets.length };
    heap.u64(this.#targets.address, targets.length).set(targets);
    for (const single of allSingles(spec.schema)) {
      if (typeof single === "string" || !("bucketize" in single)) continue;
      const address = heap.alloc(8 * single.bucketize.length);
      heap.f64(address, single.bucketize.length).set(single.bucketize);
      this.#bounds.set(single.bucketize, address);
    }
  }

  /**
   * Takes a block of rows: parses numbers, applies filters. Returns how many rows are selected; the codes tell why the
   * others are not.
   */
  load(rows: number, columns: ReadonlyMap<string, SourceColumn>): number {
    if (rows > this.#capacity) throw new RangeError(`a block holds at most ${this.#capacity} rows, got ${rows}`);
    this.#rows = rows;
    this.#columns = columns;
    this.#numbers.clear();
    // Filters come first: what else is wrong with a row that they drop does not matter.
    for (const filter of this.#where) {
      if (!("column" in filter)) continue;
      const asTime = typeof filter.from === "string" || typeof filter.to === "string";
      const values = asTime ? this.#time(filter.column, 1) : this.#number(filter.column);
      const from = boundOf(filter.from, Number.NEGATIVE_INFINITY);
      this.#kernel.filterRange(values, rows, from, boundOf(filter.to, Number.POSITIVE_INFINITY), this.codes);
    }
    const { label, dense } = this.#schema;
    if (label !== undefined && label.equals === undefined) {
      this.#kernel.requireLabel(this.#number(label.column), rows, this.codes);
    }
    for (const spec of dense) this.#number(typeof spec === "string" ? spec : spec.column);
    for (const single of allSingles(this.#schema)) {
      const name = typeof single === "string" ? single : single.column;
      if (name in this.#schema.derived || (typeof single === "object" && "bucketize" in single)) this.#number(name);
    }
    return this.#kernel.selectRows(this.codes, rows, this.#selected);
  }

  /** Row of the block of selected row `index`; the row after the last one for `index` = count. */
  rowOf(index: number): number {
    return this.#heap.u32(this.#selected, index + 1)[index]!;
  }

  /** Writes selected rows `from` to `from + count` of the block as rows `row`… of the slot at `address`. */
  encode(from: number, count: number, address: number, row: number): void {
    const rows = this.#selected + 4 * from;
    this.#encodeLabel(rows, count, address + columnOf(this.#layout, "label").offset + 4 * row);
    const { dense, categorical, bags } = this.#schema;
    if (dense.length > 0) {
      const stride = 4 * dense.length;
      const out = address + columnOf(this.#layout, "dense").offset + row * stride;
      dense.forEach((_, i) => {
        this.#encodeDense(i, rows, count, out + 4 * i, stride);
      });
    }
    if (categorical.length > 0) {
      const stride = BYTES_OF_ID * categorical.length;
      const out = address + columnOf(this.#layout, "categorical").offset + row * stride;
      categorical.forEach((spec, i) => {
        this.#encodeCategorical(spec, i, rows, count, out + BYTES_OF_ID * i, stride);
      });
    }
    Object.entries(bags).forEach(([name, { column, separator, max }], i) => {
      const source = this.#columns.get(column);
      if (source?.kind !== "text") throw new TypeError(`bag "${name}": column "${column}" holds no text to split`);
      const out = address + columnOf(this.#layout, name).offset + row * max * BYTES_OF_ID;
      const index = categorical.length + i;
      const code = separator.charCodeAt(0);
      this.#kernel.hashBags(source.starts, source.lengths, rows, count, code, max, index, this.#buckets, out);
    });
  }

  #encodeLabel(rows: number, count: number, out: number): void {
    const { label } = this.#schema;
    if (label === undefined) {
      this.#heap.f32(out, count).fill(0);
    } else if (label.equals !== undefined) {
      this.#hash(label.column, 0, false, rows, count, this.#hashes, BYTES_OF_ID);
      this.#kernel.labelsOfHashes(this.#hashes, count, this.#targets.address, this.#targets.count, out);
    } else {
      const kind = label.greaterThan !== undefined ? 1 : label.greaterOrEqual !== undefined ? 2 : 0;
      const bound = label.greaterThan ?? label.greaterOrEqual ?? 0;
      this.#kernel.labels(this.#number(label.column), rows, count, kind, bound, out);
    }
  }

  #encodeDense(index: number, rows: number, count: number, out: number, stride: number): void {
    const spec = this.#schema.dense[index]!;
    const values = this.#number(typeof spec === "string" ? spec : spec.column);
    const transform = typeof spec === "string" ? "none" : spec.transform;
    if (transform === "log") {
      this.#kernel.denseLog(values, rows, count, out, stride);
    } else {
      const { mean, scale } = transform === "none" ? { mean: 0, scale: 1 } : transform;
      this.#kernel.denseAffine(values, rows, count, mean, scale, out, stride);
    }
  }

  #encodeCategorical(
    spec: CategoricalSpec,
    index: number,
    rows: number,
    count: number,
    out: number,
    stride: number,
  ): void {
    const parts = typeof spec === "object" && "cross" in spec ? spec.cross : [spec];
    parts.forEach((part, i) => {
      this.#hash(part, index, i > 0, rows, count, out, stride);
    });
    this.#kernel.finishIds(count, this.#buckets, out, stride);
  }

  #hash(
    part: SingleSpec,
    index: number,
    folding: boolean,
    rows: number,
    count: number,
    out: number,
    stride: number,
  ): void {
    const name = typeof part === "string" ? part : part.column;
    const source = this.#columns.get(name);
    if (typeof part === "object" && "bucketize" in part) {
      const bounds = this.#bounds.get(part.bucketize)!;
      const boundCount = part.bucketize.length;
      const values = this.#number(name);
      this.#kernel.hashBuckets(values, rows, count, bounds, boundCount, index, folding, out, stride);
    } else if (source?.kind === "text" && !(name in this.#schema.derived)) {
      this.#kernel.hashTexts(source.starts, source.lengths, rows, count, index, folding, out, stride);
    } else {
      this.#kernel.hashNumbers(this.#number(name), rows, count, index, folding, out, stride);
    }
  }

  /** Address of the float64 values of a source or derived column over the block. */
  #number(name: string): number {
    const derived = this.#schema.derived[name];
    if (derived !== undefined) {
      return this.#computed(`part ${name}`, (out) => {
        const times = this.#time(derived.column, MILLISECONDS[derived.unit]);
        this.#kernel.dateParts(times, this.#rows, dateParts.indexOf(derived.part), out);
      });
    }
    const source = this.#source(name);
    if (source.kind === "number") return source.values;
    return this.#computed(`number ${name}`, (out) => this.#parse(name, source, 0, out));
  }

  #time(name: string, milliseconds: number): number {
    const source = this.#source(name);
    if (source.kind === "number" && (source.isTime || milliseconds === 1)) return source.values;
    return this.#computed(`time ${name} ${milliseconds}`, (out) => {
      if (source.kind === "text") this.#parse(name, source, milliseconds, out);
      else this.#kernel.scaleNumbers(source.values, this.#rows, milliseconds, out);
    });
  }

  #parse(name: string, source: SourceColumn & { kind: "text" }, scale: number, out: number): void {
    const detail = [...this.#columns.keys()].indexOf(name);
    const { starts, lengths } = source;
    this.#kernel.numbersOfText(starts, lengths, this.#rows, scale, out, this.codes, this.details, detail);
  }

  #computed(key: string, compute: (out: number) => void): number {
    let address = this.#numbers.get(key);
    if (address === undefined) {
      address = this.#numberBlocks.get(key) ?? this.#heap.alloc(8 * this.#capacity);
      this.#numberBlocks.set(key, address);
      compute(address);
      this.#numbers.set(key, address);
    }
    return address;
  }

  #source(name: string): SourceColumn {
    const source = this.#columns.get(name);
    if (source === undefined) throw new Error(`the data has no column "${name}", which the schema reads`);
    return source;
  }

  free(): void {
    const blocks = [this.codes, this.details, this.#selected, this.#hashes, this.#targets.address];
    for (const block of [...blocks, ...this.#bounds.values(), ...this.#numberBlocks.values()]) this.#heap.free(block);
  }
}

/** Every value that becomes an id, inside crosses too. */
function allSingles(schema: Schema): SingleSpec[] {
  return schema.categorical.flatMap((spec) => (typeof spec === "object" && "cross" in spec ? spec.cross : [spec]));
}

const boundOf = (bound: number | string | undefined, otherwise: number): number =>
  typeof bound === "string" ? Date.parse(bound) : (bound ?? otherwise);
