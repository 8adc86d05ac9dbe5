// The gradients of one batch for one table, summed by distinct row: what an update rule is applied to. Repeated rows must
// be summed before an adaptive rule sees them: updates per occurrence cost accuracy, and time.
import { type Heap, instantiate } from "../memory/index.ts";

/** Where a field's gradient comes from. Pointers are byte offsets into the heap, fixed at binding. */
export interface GradientSource {
  /** Which of the look-ups gave the rows. */
  readonly lookup: number;
  readonly field: string;
  /** f32 [occurrences, dim], or [bags, dim] if pooled. */
  readonly gradient: number;
  /** The rows are bags of `length`, gathered by sum or mean. */
  readonly pool?: { readonly mode: "sum" | "mean"; readonly length: number };
}

/** The result for a field, good until the next `collect`. */
export interface RowSums {
  readonly field: string;
  readonly dim: number;
  /** u32 handles of the distinct rows, without the zero row. */
  readonly rows: number;
  /** f32 [count, dim]: the sum of each row's gradients. */
  readonly sums: number;
  /** Distinct rows of the last `collect`. */
  count: number;
}

interface Kernel {
  clear(map: number, n: number): void;
  number(
    rows: number,
    n: number,
    zeroRow: number,
    map: number,
    mask: number,
    unique: number,
    count: number,
    numbers: number,
  ): number;
  accumulate(numbers: number, n: number, gradient: number, dim: number, sums: number, first: number): void;
  accumulatePool(
    numbers: number,
    n: number,
    length: number,
    gradient: number,
    dim: number,
    sums: number,
    first: number,
    mean: number,
  ): void;
}

interface BoundSource {
  readonly numbers: number;
  readonly occurrences: number;
  readonly gradient: number;
  readonly first: boolean;
  readonly length: number;
  readonly mean: boolean;
  readonly sums: RowSums;
}

/** Look-ups whose distinct rows are numbered together: those that feed the same fields. */
interface Group {
  readonly lookups: readonly { readonly rows: number; readonly occurrences: number; readonly numbers: number }[];
  readonly unique: number;
  readonly mask: number;
  readonly sums: RowSums[];
  readonly sources: BoundSource[];
}

export interface SparseGradientsOptions {
  readonly zeroRow: number;
  /** u32 handles of each look-up, and how many: duplicates within and between them are summed. */
  readonly lookups: readonly { readonly rows: number; readonly occurrences: number }[];
  readonly sources: readonly GradientSource[];
  /** Dim of each field that the sources name. */
  readonly dims: Readonly<Record<string, number>>;
}

/**
 * Sums gradients by row for one thread. All memory is taken when it is made; `collect` allocates nothing.
 *
 * A row counts as touched by a field only if a look-up that feeds the field gave it, so that a rule which moves weights
 * without gradient (momentum) moves exactly the rows of the batch.
 */
export class SparseGradients {
  /** One entry a field, in order of first mention. */
  readonly fields: readonly RowSums[];
  readonly #heap: Heap;
  readonly #kernel: Kernel;
  readonly #groups: readonly Group[];
  readonly #zeroRow: number;
  readonly #map: number;
  readonly #blocks: number[] = [];

  /** @throws RangeError when a source names an unknown look-up or field, or its bags do not fit. */
  constructor(heap: Heap, options: SparseGradientsOptions) {
    validate(options);
    this.#heap = heap;
    this.#kernel = instantiate<Kernel>("row-gradients", heap);
    this.#zeroRow = options.zeroRow;
    const lookupsOf = new Map<string, Set<number>>();
    for (const { field, lookup } of options.sources) {
      lookupsOf.set(field, (lookupsOf.get(field) ?? new Set()).add(lookup));
    }
    const fieldsOf = new Map<string, string[]>();
    for (const [field, lookups] of lookupsOf) {
      const id = [...lookups].sort((a, b) => a - b).join();
      fieldsOf.set(id, [...(fieldsOf.get(id) ?? []), field]);
    }
    this.#groups = [...fieldsOf].map(([id, fields]) => this.#group(id.split(",").map(Number), fields, options));
    const sums = this.#groups.flatMap((group) => group.sums);
    this.fields = [...lookupsOf.keys()].map((field) => sums.find((sum) => sum.field === field)!);
    this.#map = this.#alloc(8 * Math.max(1, ...this.#groups.map((group) => group.mask + 1)));
  }

  /** Numbers the distinct rows of the look-ups and sums all gradients into `fields`. */
  collect(): void {
    const kernel = this.#kernel;
    for (const { lookups, unique, mask, sums, sources } of this.#groups) {
      kernel.clear(this.#map, mask + 1);
      let count = 0;
      for (const { rows, occurrences, numbers } of lookups) {
        count = kernel.number(rows, occurrences, this.#zeroRow, this.#map, mask, unique, count, numbers) >>> 0;
      }
      for (const sum of sums) sum.count = count;
      for (const { numbers, occurrences, gradient, first, length, mean, sums } of sources) {
        if (length === 0) kernel.accumulate(numbers, occurrences, gradient, sums.dim, sums.sums, first ? 1 : 0);
        else {
          const bags = occurrences / length;
          kernel.accumulatePool(numbers, bags, length, gradient, sums.dim, sums.sums, first ? 1 : 0, mean ? 1 : 0);
        }
      }
    }
  }

  /** Frees the memory. */
  dispose(): void {
    for (const block of this.#blocks.splice(0)) this.#heap.free(block);
  }

  #alloc(bytes: number): number {
    const block = this.#heap.alloc(bytes);
    this.#blocks.push(block);
    return block;
  }

  #group(ids: readonly number[], fields: readonly string[], options: SparseGradientsOptions): Group {
    const lookups = ids.map((id) => {
      const { rows, occurrences } = options.lookups[id]!;
      return { rows, occurrences, numbers: this.#alloc(4 * occurrences) };
    });
    const total = lookups.reduce((sum, lookup) => sum + lookup.occurrences, 0);
    const unique = this.#alloc(4 * total);
    const sums = fields.map((field): RowSums => {
      const dim = options.dims[field]!;
      return { field, dim, rows: unique, sums: this.#alloc(4 * dim * total), count: 0 };
    });
    const sources: BoundSource[] = [];
    for (const sum of sums) {
      // In order of look-ups a row's first occurrence comes first, so it can set the sum instead of adding to it. A second
      // source over the same look-up must add.
      for (const [i, id] of ids.entries()) {
        const own = options.sources.filter((source) => source.field === sum.field && source.lookup === id);
        for (const [place, { gradient, pool }] of own.entries()) {
          const { numbers, occurrences } = lookups[i]!;
          const [length, mean] = [pool?.length ?? 0, pool?.mode === "mean"];
          sources.push({ numbers, occurrences, gradient, first: place === 0, length, mean, sums: sum });
        }
      }
    }
    return { lookups, unique, mask: 2 ** Math.ceil(Math.log2(2 * Math.max(total, 1))) - 1, sums, sources };
  }
}

function validate({ lookups, sources, dims }: SparseGradientsOptions): void {
  for (const { lookup, field, pool } of sources) {
    const rows = lookups[lookup];
    if (rows === undefined) {
      throw new RangeError(
        `gradient of field "${field}": look-up ${lookup} does not exist, there are ${lookups.length}`,
      );
    }
    if (!Number.isInteger(dims[field]) || dims[field]! < 1) {
      throw new RangeError(`gradient of field "${field}": its dim must be a positive integer, got ${dims[field]}`);
    }
    if (pool !== undefined && (!(pool.length > 0) || rows.occurrences % pool.length !== 0)) {
      throw new RangeError(
        `gradient of field "${field}": ${rows.occurrences} rows are not bags of ${pool.length} (look-up ${lookup})`,
      );
    }
  }
}
