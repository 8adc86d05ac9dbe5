// A sparse table in its plainest form, for the reference interpreter: rows in a Map, float64 weights and slots.
import type { UpdateRule } from "../kernels/update-rule.ts";
import { ProgramError } from "./errors.ts";
import type { TableSpec } from "./ir.ts";
import type { ReferenceRows } from "./ops/definition.ts";

interface Row {
  readonly weights: Float64Array;
  readonly slots: readonly Float64Array[];
}

export interface ReferenceTableOptions {
  /** The weights of a new row; default zeros. */
  readonly initial?: (key: bigint, field: string, element: number) => number;
  /** The update rule of each field, where rows are updated. */
  readonly rules?: Readonly<Record<string, UpdateRule>>;
}

/** Row numbers count from 1 in the order of insertion; row 0 is the zero row, of key 0 and of unknown keys. */
export class ReferenceTable implements ReferenceRows {
  readonly spec: TableSpec;
  readonly #initial: (key: bigint, field: string, element: number) => number;
  readonly #rules: Readonly<Record<string, UpdateRule>>;
  readonly #index = new Map<bigint, number>();
  readonly #rows: Map<string, Row>[] = [];

  constructor(spec: TableSpec, { initial = () => 0, rules = {} }: ReferenceTableOptions = {}) {
    this.spec = spec;
    this.#initial = initial;
    this.#rules = rules;
    this.#append(() => 0);
  }

  /** Rows besides the zero row. */
  get size(): number {
    return this.#index.size;
  }

  get keys(): readonly bigint[] {
    return [...this.#index.keys()];
  }

  find(key: bigint, insert: boolean): number {
    if (key === 0n) return 0;
    const known = this.#index.get(key);
    if (known !== undefined) return known;
    if (!insert) return 0;
    const row = this.#rows.length;
    this.#append((field, element) => this.#initial(key, field, element));
    this.#index.set(key, row);
    return row;
  }

  weights(row: number, field: string): Float64Array {
    return this.#entry(row, field).weights;
  }

  slots(row: number, field: string): readonly Float64Array[] {
    return this.#entry(row, field).slots;
  }

  rule(field: string): UpdateRule {
    const rule = this.#rules[field];
    if (rule === undefined)
      throw new ProgramError(`the reference table ${this.spec.name} was given no rule for ${field}`);
    return rule;
  }

  #append(initial: (field: string, element: number) => number): void {
    const fields = this.spec.fields.map(({ name, dim, slots }): [string, Row] => [
      name,
      {
        weights: Float64Array.from({ length: dim }, (_, element) => initial(name, element)),
        slots: slots.map((slot) => new Float64Array(slot.perRow ? 1 : dim).fill(slot.initial)),
      },
    ]);
    this.#rows.push(new Map(fields));
  }

  #entry(row: number, field: string): Row {
    const entry = this.#rows[row]?.get(field);
    if (entry === undefined)
      throw new ProgramError(`the reference table ${this.spec.name} has no row ${row} with ${field}`);
    return entry;
  }
}
