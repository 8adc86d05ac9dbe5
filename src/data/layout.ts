// How a batch lies in memory: the columns of a slot, each starting at a multiple of 64 bytes.
import { bytesOf, type DType } from "../engine/plan.ts";

export interface BatchColumn {
  readonly name: string;
  readonly dtype: DType;
  /** [batch, ..]: [batch] for `weight`. */
  readonly shape: readonly number[];
  /** Elements a row. */
  readonly width: number;
  /** Bytes from the address of the slot; a multiple of 64. */
  readonly offset: number;
}

export interface BatchLayout {
  /** Rows in a full batch. */
  readonly batch: number;
  readonly columns: readonly BatchColumn[];
  /** Bytes of a slot; a multiple of 64. */
  readonly bytes: number;
  /** Present where the data has a column `weight` of its own, [batch] or [batch, ..]; else a row weighs 1. */
  readonly weighted?: true;
}

/** What a dataset yields a row, beside `label` and `weight`. */
export interface FeatureWidths {
  readonly dense: number;
  readonly categorical: number;
  /** Multi-valued columns: name to the most values a row. */
  readonly bags: Readonly<Record<string, number>>;
}

/** Integer and categorical columns of the Criteo format. */
export const CRITEO_DENSE = 13;
export const CRITEO_CATEGORICAL = 26;

export const ALIGNMENT = 64;
export const alignUp = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** `label` f32 [B], `weight` f32 [B], then `dense` f32 [B, n], `categorical` u64 [B, n] and a u64 [B, max] for each bag. */
export function batchLayout(batch: number, widths: FeatureWidths): BatchLayout {
  const columns: RowColumn[] = [{ name: "label", dtype: "f32", shape: [] }];
  if (widths.dense > 0) columns.push({ name: "dense", dtype: "f32", shape: [widths.dense] });
  if (widths.categorical > 0) columns.push({ name: "categorical", dtype: "u64", shape: [widths.categorical] });
  for (const [name, max] of Object.entries(widths.bags)) columns.push({ name, dtype: "u64", shape: [max] });
  return layoutOf(batch, columns);
}

/** A column by the type and shape of its rows. */
export interface RowColumn {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** Columns one after the other, `weight` f32 [B] after the first unless it is among them. */
export function layoutOf(batch: number, rows: readonly RowColumn[]): BatchLayout {
  const columns: BatchColumn[] = [];
  const weighted = rows.some(({ name }) => name === "weight");
  let offset = 0;
  const add = ({ name, dtype, shape }: RowColumn): void => {
    const width = shape.reduce((a, b) => a * b, 1);
    columns.push({ name, dtype, shape: [batch, ...shape], width, offset });
    offset += alignUp(batch * width * bytesOf[dtype]);
  };
  for (const [i, column] of rows.entries()) {
    add(column);
    if (i === 0 && !weighted) add({ name: "weight", dtype: "f32", shape: [] });
  }
  return { batch, columns, bytes: offset, ...(weighted ? { weighted } : {}) };
}

/** @throws when the layout has no such column. */
export function columnOf(layout: BatchLayout, name: string): BatchColumn {
  const column = layout.columns.find((candidate) => candidate.name === name);
  if (column === undefined) {
    const names = layout.columns.map((candidate) => candidate.name).join(", ");
    throw new Error(`the batch has no column "${name}"; it has ${names}`);
  }
  return column;
}
