// The memory of a partition's table, by the layout of its rows and the growth of its index; nothing is guessed.
import { type Optimizer, updateRule } from "../optim/index.ts";
import { columnsOf, layoutOf, type TableSpec } from "../table/index.ts";

export interface RowOptions {
  readonly dim: number;
  /** A weight of its own for the linear part, as the click models have. */
  readonly linear: boolean;
  readonly optimizer: Optimizer;
  /** Shows, clicks, unseen days, delta score. */
  readonly statistics: boolean;
}

export interface RowSpec {
  readonly spec: TableSpec;
  /** Weights. */
  readonly width: number;
  /** Of a row in memory, without its key. */
  readonly strideBytes: number;
  /** Of a row in a checkpoint, with its key; statistics lie in a table of their own with keys of their own. */
  readonly savedBytes: number;
}

/** A row as servers keep it: beside the fields, statistics and when it was last used. */
export function rowSpec({ dim, linear, optimizer, statistics }: RowOptions): RowSpec {
  const { slots } = updateRule(optimizer, "ps");
  const field = (name: string, dim: number, own = slots): TableSpec["fields"][number] => ({
    ...{ name, dim, slots: own, init: { kind: "zeros", scale: 0 } },
  });
  const fields = [field("embedding", dim), ...(linear ? [field("linear", 1)] : [])];
  const hidden = [...(statistics ? [field("_statistics", 4, [])] : []), field("_used", 1, [])];
  const spec = { name: "features", seed: 0, fields: [...fields, ...hidden] };
  const numbers = columnsOf({ ...spec, fields }, layoutOf({ ...spec, fields })).reduce(
    (sum, { width }) => sum + width,
    0,
  );
  return {
    ...{ spec, width: dim + (linear ? 1 : 0), strideBytes: layoutOf(spec).strideBytes },
    savedBytes: 8 + 4 * numbers + (statistics ? 8 + 4 * 4 : 0),
  };
}

export interface Memory {
  readonly rows: number;
  readonly index: number;
  readonly total: number;
}

const KEY_BYTES = 8;
const SLAB_BYTES = 2 ** 20;
const SEGMENTS = 256;
const SLOT_BYTES = 16;
/** Around the slots of a segment: a header and a group of empty slots. */
const SEGMENT_BYTES = 128;
const LEAST_SLOTS = 32;
/** A segment that is fuller is doubled. */
const FULL = 0.75;
const SPILL_FULL = 0.7;

/** Of a table with so many rows in memory in one partition: rows lie in slabs, slots of the index double. */
export function partitionMemory(rows: number, strideBytes: number): Memory {
  const rowBytes = strideBytes + KEY_BYTES;
  const slabRows = Math.max(32, 2 ** Math.floor(Math.log2(SLAB_BYTES / rowBytes)));
  const slabs = Math.ceil(rows / slabRows) * slabRows * rowBytes;
  const slots = Math.max(LEAST_SLOTS, 2 ** Math.ceil(Math.log2(Math.max(1, rows / SEGMENTS / FULL))));
  const index = SEGMENTS * (slots * SLOT_BYTES + SEGMENT_BYTES);
  return { rows: slabs, index, total: slabs + index };
}

/** Memory that says where rows on disk are. */
export function spilledMemory(rows: number): number {
  return rows === 0 ? 0 : SLOT_BYTES * Math.max(1024, 2 ** Math.ceil(Math.log2(rows / SPILL_FULL)));
}

/** Of a row on disk: key, unused, row. */
export const spilledBytes = (strideBytes: number): number => 16 + strideBytes;
