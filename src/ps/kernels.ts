// The kernels of a partition. Pointers are byte offsets into the heap; what each does stands beside its code.
import { type Heap, instantiate } from "../memory/index.ts";

/** Exports of ps-rows.as.ts. */
export interface BatchKernel {
  firstNonFinite(values: number, n: number): number;
  scale(values: number, n: number, factor: number): void;
  add(values: number, other: number, n: number): void;
  addScaled(values: number, other: number, n: number, factor: number): void;
  divideRows(values: number, n: number, width: number, shows: number): void;
  blank(rows: number, n: number, zeroRow: number): number;
  count(rows: number, n: number, zeroRow: number): number;
  addToRows(rows: number, n: number, offset: number, dim: number, values: number, stride: number): void;
  setWord(rows: number, n: number, offset: number, value: number): void;
  addStatistics(
    rows: number,
    n: number,
    offset: number,
    shows: number,
    clicks: number,
    nonClick: number,
    click: number,
  ): void;
  missing(rows: number, keys: number, n: number, zeroRow: number, places: number, found: number): number;
  keepByScore(
    places: number,
    keys: number,
    n: number,
    primary: number,
    offset: number,
    nonClick: number,
    click: number,
    least: number,
  ): number;
  keepByChance(places: number, keys: number, n: number, draw: number, limit: number): number;
  placeRows(rows: number, places: number, from: number, n: number): void;
  markChanged(
    rows: number,
    n: number,
    offset: number,
    keys: number,
    log: number,
    mask: number,
    position: number,
    author: number,
  ): number;
  changedFor(
    keys: number,
    rows: number,
    n: number,
    offset: number,
    position: number,
    since: number,
    reader: number,
    out: number,
  ): number;
}

/** Rows in memory or in records: where they lie. */
export type Span = readonly [keys: number, keyStep: number, rows: number, rowStep: number, places: number];

/** Exports of ps-scan.as.ts. */
export interface ScanKernel {
  decay(
    ...args: [
      ...Span,
      offset: number,
      factor: number,
      nonClick: number,
      click: number,
      dropScore: number,
      dropUnseen: number,
      out: number,
    ]
  ): number;
  age(...args: [...Span, offset: number]): void;
  select(
    ...args: [
      ...Span,
      offset: number,
      nonClick: number,
      click: number,
      leastScore: number,
      leastDelta: number,
      mostUnseen: number,
      clear: number,
      out: number,
    ]
  ): number;
  unseen(...args: [...Span, offset: number, days: number, out: number]): number;
  keysAt(keys: number, keyStep: number, places: number, out: number): void;
  collect(keys: number, keyStep: number, places: number, out: number): number;
  live(...args: [...Span, out: number, handles: number]): number;
  ages(...args: [...Span, offset: number, now: number, histogram: number]): void;
  oldest(...args: [...Span, offset: number, now: number, least: number, limit: number, out: number]): number;
  pack(keys: number, rows: number, rowBytes: number, places: number, n: number, out: number): void;
  unpack(records: number, rowBytes: number, rows: number, n: number): void;
  handles(records: number, recordBytes: number, n: number, rows: number): void;
}

/** Exports of ps-records.as.ts. */
export interface RecordsKernel {
  put(map: number, mask: number, keys: number, step: number, n: number, records: number): void;
  find(map: number, mask: number, keys: number, n: number, records: number): number;
  compact(keys: number, records: number, places: number, n: number): number;
  remove(map: number, mask: number, keys: number, step: number, n: number, records: number): number;
  move(map: number, mask: number, to: number, toMask: number): void;
  list(map: number, mask: number, records: number): void;
}

/** Exports of row-gradients.as.ts that add up gradients of several workers. */
export interface SumKernel {
  clear(map: number, n: number): void;
  number(
    rows: number,
    n: number,
    zeroRow: number,
    map: number,
    mask: number,
    unique: number,
    count: number,
    numbers: number,
  ): number;
  accumulate(numbers: number, n: number, gradient: number, dim: number, sums: number, first: number): void;
}

export const batchKernel = (heap: Heap): BatchKernel => instantiate<BatchKernel>("ps-rows", heap);
export const scanKernel = (heap: Heap): ScanKernel => instantiate<ScanKernel>("ps-scan", heap);
export const recordsKernel = (heap: Heap): RecordsKernel => instantiate<RecordsKernel>("ps-records", heap);
export const sumKernel = (heap: Heap): SumKernel => instantiate<SumKernel>("row-gradients", heap);
