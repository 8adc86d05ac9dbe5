// What the engine needs of a sparse table; src/table has the real one.
import { check, type OpSignature } from "../tensor.ts";

export interface TableLayout {
  /** Byte offsets in a row. */
  readonly fields: Readonly<
    Record<string, { readonly offset: number; readonly dim: number; readonly slotOffsets: readonly number[] }>
  >;
}

export interface SparseTable {
  readonly layout: TableLayout;
  /** The handle (byte address / 16) of the row whose weights are 0 for ever. */
  readonly zeroRow: number;
  /** Row handles u32 [n] of keys u64 [n], all by address. */
  lookup(keys: number, n: number, rows: number, insert: boolean): void;
}

/** The entry of `tables` that an op names. */
export function ofTable<T>(op: OpSignature, tables: Readonly<Record<string, T>>, what = "table"): T {
  const name = op.attrs.table as string;
  const known = Object.keys(tables).join(", ") || "none";
  check(op, Object.hasOwn(tables, name), `no ${what} "${name}" was given (there are: ${known})`);
  return tables[name]!;
}

export function fieldOf(op: OpSignature, layout: TableLayout, field: string): TableLayout["fields"][string] {
  const known = Object.keys(layout.fields).join(", ");
  check(
    op,
    Object.hasOwn(layout.fields, field),
    `table "${op.attrs.table}" has no field "${field}" (there are: ${known})`,
  );
  return layout.fields[field]!;
}
