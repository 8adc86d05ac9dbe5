// Looking up a table's fields, with errors that list what there is.
import { ShapeError } from "./errors.ts";
import type { TableField, TableSpec } from "./ir.ts";

/** Throws a ShapeError where there is no such table or field. */
export function tableField(tables: Readonly<Record<string, TableSpec>>, table: string, field: string): TableField {
  const spec = tables[table];
  if (spec === undefined) {
    throw new ShapeError(`no table ${table}: the program has ${Object.keys(tables).join(", ") || "none"}`);
  }
  const found = spec.fields.find((candidate) => candidate.name === field);
  if (found === undefined) {
    const names = spec.fields.map((candidate) => candidate.name).join(", ");
    throw new ShapeError(`table ${table} has no field ${field}: it has ${names}`);
  }
  return found;
}
