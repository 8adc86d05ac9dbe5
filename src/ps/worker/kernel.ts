// The kernels of a worker. Pointers are byte offsets into the heap; what each does stands beside its code.
import { type Heap, instantiate } from "../../memory/index.ts";

/** Exports of ps-worker.as.ts. */
export interface WorkerKernel {
  handles(
    ids: number,
    n: number,
    map: number,
    mask: number,
    unique: number,
    count: number,
    first: number,
    step: number,
    zero: number,
    out: number,
  ): number;
  clear(at: number, bytes: number): void;
  numbers(ids: number, n: number, map: number, mask: number, unique: number, count: number, out: number): number;
  idsOf(handles: number, n: number, first: number, step: number, ids: number, out: number): void;
  copyRows(from: number, fromStride: number, n: number, bytes: number, to: number, toStride: number): void;
  spreadRows(
    from: number,
    fromStride: number,
    order: number,
    n: number,
    bytes: number,
    to: number,
    toStride: number,
  ): void;
  blankZeros(handles: number, n: number, bytes: number, zero: number): void;
  addScaled(sums: number, values: number, n: number, factor: number): void;
  takeDelta(local: number, old: number, n: number, share: number, delta: number): void;
  putFresh(fresh: number, old: number, n: number, local: number): void;
  takeRowDeltas(
    handles: number,
    n: number,
    offset: number,
    oldOffset: number,
    dim: number,
    share: number,
    out: number,
    stride: number,
  ): void;
  putFreshRows(
    handles: number,
    n: number,
    offset: number,
    oldOffset: number,
    dim: number,
    fresh: number,
    stride: number,
  ): void;
}

/** Exports of ps-statistics.as.ts. */
export interface StatisticsKernel {
  countShows(
    handles: number,
    n: number,
    width: number,
    labels: number,
    weights: number,
    first: number,
    step: number,
    zero: number,
    counts: number,
  ): void;
  takeCounts(
    handles: number,
    n: number,
    first: number,
    step: number,
    counts: number,
    out: number,
    stride: number,
  ): void;
}

export const statisticsKernel = (heap: Heap): StatisticsKernel => instantiate<StatisticsKernel>("ps-statistics", heap);

export const workerKernel = (heap: Heap): WorkerKernel => instantiate<WorkerKernel>("ps-worker", heap);

/** Bytes of an entry of the map that numbers ids. */
export const MAP_ENTRY_BYTES = 16;

/** The mask of a map for so many ids, at most half full. */
export const mapMask = (ids: number): number => 2 ** Math.ceil(Math.log2(2 * Math.max(1, ids))) - 1;
