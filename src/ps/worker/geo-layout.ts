// Mode `geo`: what a worker keeps besides the weights that its trainers move: what they were when servers last knew them.
import type { TableHandle, TableSpec } from "../../table/index.ts";

/** The name of the slot that holds a row's weights as the servers know them. */
const OLD = "old";

/** A table whose rows also hold their old weights. */
export const withOldWeights = (spec: TableSpec): TableSpec => ({
  ...spec,
  fields: spec.fields.map((field) => ({ ...field, slots: [{ name: OLD, initial: 0 }] })),
});

export interface GeoLayout {
  /** Batches between two exchanges. */
  readonly every: number;
  readonly workers: number;
  /** The trainers' tables, of specs `withOldWeights`, in the order of the served model. */
  readonly tables: readonly TableHandle[];
  /** Of each dense parameter that moves: addresses of the weights that trainers move, and of those that servers know. */
  readonly dense: readonly { readonly local: number; readonly old: number; readonly length: number }[];
}
