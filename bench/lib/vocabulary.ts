// Turns values into the ids of a table: one id for each value of a field that the training rows hold, and 0, which stands
// for no feature, for the rest.

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

  /** Learns from the first `rows` of columns; the empty value is one like others. */
  learn(columns: readonly ArrayLike<string | number>[], rows: number): void {
    columns.forEach((column, field) => {
      const ids = this.#ids[field]!;
      for (let row = 0; row < rows; row++) {
        if (!ids.has(column[row]!)) ids.set(column[row]!, this.#size++);
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
