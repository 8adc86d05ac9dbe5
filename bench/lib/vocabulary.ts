// Turns values into the ids of a table: one id for each value of a field that the training rows hold often enough, and
// 0, which stands for no feature, for the rest.

/** Ids 1 … size − 1 over all fields; learnt from training rows, then frozen. */
export class Vocabulary {
  readonly #ids: Map<string | number, number>[];
  #size = 1;

  constructor(fields: number) {
    this.#ids = Array.from({ length: fields }, () => new Map());
  }

  /** The number of ids, that of no feature included. */
  get size(): number {
    return this.#size;
  }

  /** Learns from row-major values; values seen fewer than `minCount` times get no id. Empty strings get none. */
  learn(columns: readonly ArrayLike<string | number>[], begin: number, end: number, minCount: number): void {
    columns.forEach((column, field) => {
      const counts = new Map<string | number, number>();
      for (let row = begin; row < end; row++) counts.set(column[row]!, (counts.get(column[row]!) ?? 0) + 1);
      for (const [value, count] of counts) {
        if (value !== "" && count >= minCount) this.#ids[field]!.set(value, this.#size++);
      }
    });
  }

  /** [rows, fields] of ids for the rows `begin` … `end` − 1. */
  encode(columns: readonly ArrayLike<string | number>[], begin: number, end: number): Int32Array {
    const ids = new Int32Array((end - begin) * columns.length);
    columns.forEach((column, field) => {
      for (let row = begin; row < end; row++) {
        ids[(row - begin) * columns.length + field] = this.#ids[field]!.get(column[row]!) ?? 0;
      }
    });
    return ids;
  }
}
