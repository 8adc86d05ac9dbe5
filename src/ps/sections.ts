// Sections of pushes and pulls against what a partition holds: checked, and as batches in memory.
import type { Heap } from "../memory/index.ts";
import { RpcError } from "../net/index.ts";
import type { DensePart } from "./dense-part.ts";
import type { Converter } from "./halves.ts";
import { type BatchKernel, batchKernel } from "./kernels.ts";
import type { DenseSection, PushView, Section, SparseSection } from "./messages.ts";
import type { Scratch } from "./scratch.ts";
import type { SparseGradientBatch, TablePart } from "./table-part.ts";

/** What sections name. */
export interface Holdings {
  readonly tables: readonly TablePart[];
  readonly dense: ReadonlyMap<number, DensePart>;
}

export class SectionReader {
  readonly #heap: Heap;
  readonly #scratch: Scratch;
  readonly #converter: Converter;
  readonly #kernel: BatchKernel;
  readonly #holdings: Holdings;

  constructor(heap: Heap, scratch: Scratch, converter: Converter, holdings: Holdings) {
    this.#heap = heap;
    this.#scratch = scratch;
    this.#converter = converter;
    this.#kernel = batchKernel(heap);
    this.#holdings = holdings;
  }

  /** How many numbers a section of a pull asks for. @throws RpcError `malformed` */
  elements(section: Section, index: number): number {
    if (section.kind === "dense") return this.#densePart(section, index).length;
    this.#tablePart(section, index);
    return section.rows * section.width;
  }

  /**
   * Checks that sections fit, and that none is for the same field twice.
   * @returns an upper bound of the memory that new rows could take
   * @throws RpcError `malformed`
   */
  check(sections: readonly Section[]): number {
    const seen = new Set<string>();
    let bytes = 0;
    for (const [i, section] of sections.entries()) {
      const dense = section.kind === "dense";
      const targets = dense ? [`${section.dense}`] : section.fields.map((field) => `${section.table}.${field}`);
      if (dense) this.#densePart(section, i);
      else
        bytes += 2 * section.rows * this.#tablePart(section, i).stores.reduce((sum, store) => sum + store.rowBytes, 0);
      for (const target of targets) {
        if (seen.has(target)) throw malformed(i, "a push has each field and each parameter at most once");
        seen.add(target);
      }
    }
    return bytes;
  }

  /** @param step for the message. @throws RpcError `not finite` that names worker, step, table and key */
  expectFinite(section: Section, base: number, { worker }: PushView, step: number): void {
    const [n, width] = section.kind === "dense" ? [section.length, 1] : [section.rows, section.width];
    const mark = this.#scratch.mark();
    const at = this.#kernel.firstNonFinite(this.values(section, base, n * width), n * width);
    this.#scratch.release(mark);
    const fail = (what: string): never => {
      throw new RpcError("not finite", `worker ${worker}, step ${step}: ${what}; the whole push is refused`);
    };
    if (section.kind === "dense") {
      const { served, start } = this.dense(section);
      if (at >= 0) fail(`a value pushed to parameter "${served.name}" is not finite, at ${start + at}`);
      return;
    }
    const { name } = this.table(section).served.spec;
    if (at >= 0) {
      const key = this.#heap.u64(base + section.keys, n)[Math.floor(at / width)]!;
      fail(`a value pushed to table "${name}" is not finite, at key 0x${key.toString(16)}`);
    }
    for (const [what, counts] of Object.entries({ shows: section.shows, clicks: section.clicks })) {
      if (counts >= 0 && this.#kernel.firstNonFinite(base + counts, n) >= 0) {
        fail(`${what} pushed to table "${name}" are not finite`);
      }
    }
  }

  /** A checked section in memory; the body lies at `base`. */
  batch(section: SparseSection, base: number): SparseGradientBatch {
    const { fields, width, rows: n } = section;
    const shows = section.shows < 0 ? 0 : base + section.shows;
    const clicks = section.clicks < 0 ? 0 : base + section.clicks;
    return {
      fields,
      width,
      n,
      keys: base + section.keys,
      shows,
      clicks,
      values: this.values(section, base, n * width),
    };
  }

  /** f32 values of a section, converted where they are halves. */
  values({ values, wire }: Section, base: number, n: number): number {
    if (wire === "f32") return base + values;
    const out = this.#scratch.take(4 * n);
    this.#converter.toF32(wire, base + values, n, out);
    return out;
  }

  table({ table }: SparseSection): TablePart {
    return this.#holdings.tables[table]!;
  }

  dense({ dense }: DenseSection): DensePart {
    return this.#holdings.dense.get(dense)!;
  }

  #tablePart(section: SparseSection, index: number): TablePart {
    const table = this.#holdings.tables[section.table];
    if (table === undefined) throw malformed(index, `there is no table ${section.table}`);
    const width = table.widthOf(section.fields);
    if (width === section.width) return table;
    const { name } = table.served.spec;
    const found = width === undefined ? "are not all there" : `have ${width} numbers, not ${section.width}`;
    throw malformed(index, `fields ${section.fields} of table "${name}" ${found}`);
  }

  #densePart(section: DenseSection, index: number): DensePart {
    const part = this.#holdings.dense.get(section.dense);
    if (part === undefined) throw malformed(index, `no piece of parameter ${section.dense} is here`);
    if (part.length === section.length) return part;
    const { name } = part.served;
    throw malformed(index, `the piece of "${name}" here has ${part.length} elements, not ${section.length}`);
  }
}

function malformed(index: number, what: string): RpcError {
  return new RpcError("malformed", `sections[${index}]: ${what}`);
}
