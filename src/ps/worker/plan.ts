// What a communicator is told about a model, as plain data: where a batch has its ids, where a prepared slot keeps what was
// pulled for them, and what trainers leave in a gradient slot.
import { alignUp } from "../../data/layout.ts";
import { layoutOf, type TableLayout, type TableSpec } from "../../table/index.ts";
import type { ServedModel, ServedTable } from "../spec.ts";

/** A look-up of the model: a column of the batch, by table. */
export interface Lookup {
  /** The table's place in the served model. */
  readonly table: number;
  /** Where the column lies in a batch's slot. */
  readonly ids: number;
  readonly occurrences: number;
}

/** A look-up whose handles lie at `handles` of a prepared slot. */
export interface PreparedLookup extends Lookup {
  readonly handles: number;
}

/** What a prepared slot has of one table; numbers are byte offsets in the slot. */
export interface PreparedTable {
  readonly table: number;
  /** The most distinct ids of a batch. */
  readonly most: number;
  /** u64 [most]: the distinct ids, and the same in the order of partitions. */
  readonly ids: number;
  readonly sorted: number;
  /** u32 [most]: places of the sorted ids. */
  readonly order: number;
  /** u32 [partitions + 1]: where each partition's ids begin. */
  readonly starts: number;
  /** The pulled rows, of `layout.strideBytes` each. */
  readonly rows: number;
}

export interface PreparedLayout {
  /** The columns of the batch, at the slot's start. */
  readonly batchBytes: number;
  readonly lookups: readonly PreparedLookup[];
  readonly tables: readonly PreparedTable[];
  readonly bytes: number;
}

/** A table as workers have it: weights alone. */
export interface WorkerTable {
  readonly layout: TableLayout;
  /** Of all fields, in order. */
  readonly fields: readonly { readonly offset: number; readonly dim: number }[];
  readonly width: number;
}

export const withoutSlots = (spec: TableSpec): TableSpec => ({
  ...spec,
  fields: spec.fields.map((field) => ({ ...field, slots: [] })),
});

export function workerTable({ spec }: ServedTable): WorkerTable {
  const layout = layoutOf(withoutSlots(spec));
  const fields = spec.fields.map(({ name }) => layout.fields[name]!);
  return { layout, fields, width: fields.reduce((sum, { dim }) => sum + dim, 0) };
}

export function preparedLayout(
  batchBytes: number,
  lookups: readonly Lookup[],
  { tables, partitions }: Pick<ServedModel, "tables" | "partitions">,
): PreparedLayout {
  let end = alignUp(batchBytes);
  const take = (bytes: number): number => {
    const start = end;
    end += alignUp(bytes);
    return start;
  };
  const placed = lookups.map((lookup) => ({ ...lookup, handles: take(4 * lookup.occurrences) }));
  const used = [...new Set(lookups.map(({ table }) => table))].map((table) => {
    const most = lookups.reduce((sum, lookup) => sum + (lookup.table === table ? lookup.occurrences : 0), 0);
    const { strideBytes } = workerTable(tables[table]!).layout;
    return {
      table,
      most,
      ids: take(8 * most),
      sorted: take(8 * most),
      order: take(4 * most),
      starts: take(4 * (partitions + 1)),
      rows: take(strideBytes * most),
    };
  });
  return { batchBytes, lookups: placed, tables: used, bytes: end };
}

/** Gradients of a batch for some fields of a table, by distinct id. */
export interface GradientGroup {
  readonly table: number;
  /** Places in the table's list, ascending. */
  readonly fields: readonly number[];
  readonly width: number;
  readonly most: number;
  /** Look-ups whose occurrences are the shows of its rows, for an accessor; undefined: nothing is counted. */
  readonly counted?: readonly number[] | undefined;
  /** Byte offsets in the slot: u64 [most], f32 [most, numbersOf(group)]. */
  readonly ids: number;
  readonly values: number;
}

/** Numbers of a row in a slot: its gradients, and behind them its shows and clicks where these are counted. */
export const numbersOf = ({ width, counted }: Pick<GradientGroup, "width" | "counted">): number =>
  width + (counted === undefined ? 0 : 2);

/** A dense parameter in a gradient slot and in the block that trainers share. */
export interface DenseGradient {
  /** Its place in the served model. */
  readonly dense: number;
  readonly length: number;
  /** Byte offset in the slot; −1 for values without gradients. */
  readonly gradient: number;
  /** Address of the weights in the heap. */
  readonly weights: number;
}

export interface GradientLayout {
  /** u32 a group: its distinct ids. */
  readonly counts: number;
  readonly groups: readonly GradientGroup[];
  readonly dense: readonly DenseGradient[];
  /** Where gradients of dense parameters begin, and how many numbers they are. */
  readonly denseStart: number;
  readonly denseLength: number;
  readonly bytes: number;
}

export function gradientLayout(
  groups: readonly Omit<GradientGroup, "ids" | "values">[],
  dense: readonly {
    readonly dense: number;
    readonly length: number;
    readonly moved: boolean;
    readonly weights: number;
  }[],
): GradientLayout {
  let end = 0;
  const take = (bytes: number): number => {
    const start = end;
    end += alignUp(bytes);
    return start;
  };
  const counts = take(4 * Math.max(1, groups.length));
  const placed = groups.map((group) => ({
    ...group,
    ids: take(8 * group.most),
    values: take(4 * group.most * numbersOf(group)),
  }));
  const denseStart = end;
  const parameters = dense.map(({ moved, ...parameter }) => ({
    ...parameter,
    gradient: moved ? take(4 * parameter.length) : -1,
  }));
  return { counts, groups: placed, dense: parameters, denseStart, denseLength: (end - denseStart) / 4, bytes: end };
}
