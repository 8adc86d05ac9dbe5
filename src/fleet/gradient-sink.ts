// Leaves a step's gradients for the communicator: rows summed by id, dense gradients as they are.
import type { Heap } from "../memory/index.ts";
import type { GradientLayout, PreparedLayout } from "../ps/worker/index.ts";
// Trainer threads load no more than they need: the rest of the folder brings the network.
import { type WorkerKernel, workerKernel } from "../ps/worker/kernel.ts";
import { HEADER_SAMPLES, Ring, type RingHandle } from "../ps/worker/slots.ts";
import { type RowSums, SparseGradients } from "../table/index.ts";
import { address, type Bound } from "./bound-plans.ts";
import type { SparseContribution } from "./model-programs.ts";

/** What a step leaves, and where: plain data. */
export interface SinkWork {
  readonly ring: RingHandle;
  readonly layout: GradientLayout;
  readonly prepared: PreparedLayout;
  readonly tables: readonly SinkTable[];
  /** Of the layout's dense parameters, those with gradients. */
  readonly parameters: readonly string[];
}

export interface SinkTable {
  readonly name: string;
  /** In the served model. */
  readonly table: number;
  readonly fields: readonly { readonly name: string; readonly dim: number }[];
  readonly strideBytes: number;
  readonly zeroRow: number;
  readonly contributions: readonly SparseContribution[];
}

interface GroupSums {
  readonly index: number;
  readonly ids: number;
  readonly values: number;
  readonly width: number;
  readonly stride: number;
  /** Of the batch's slot. */
  readonly slotIds: number;
  readonly slotRows: number;
  readonly sums: readonly RowSums[];
}

/** Row handles are addresses in units of it. */
const HANDLE_UNIT = 16;

export class GradientSink {
  readonly #kernel: WorkerKernel;
  readonly #ring: Ring;
  readonly #layout: GradientLayout;
  readonly #sparse: readonly SparseGradients[];
  readonly #groups: readonly GroupSums[];
  readonly #dense: readonly { readonly from: Uint8Array; readonly at: number }[];
  readonly #bytes: Uint8Array;
  readonly #counts: Uint32Array;

  constructor(heap: Heap, bound: Bound, work: SinkWork) {
    const { ring, layout, prepared, tables, parameters } = work;
    this.#kernel = workerKernel(heap);
    this.#ring = Ring.attach(heap, ring, "fill");
    this.#layout = layout;
    this.#bytes = heap.u8(0, heap.capacity);
    this.#counts = heap.u32(0, heap.capacity / 4);
    const made = tables.map((table) => ({ ...table, sparse: sparseGradients(heap, bound, table) }));
    this.#sparse = made.map(({ sparse }) => sparse);
    this.#groups = layout.groups.map(({ table, fields, width, ids, values }, index) => {
      const { fields: all, sparse, strideBytes } = made.find((each) => each.table === table)!;
      const place = prepared.tables.find((each) => each.table === table)!;
      const names = fields.map((field) => all[field]!.name);
      const sums = names.map((name) => sparse.fields.find(({ field }) => field === name)!);
      const stride = strideBytes / HANDLE_UNIT;
      return { index, ids, values, width, stride, slotIds: place.ids, slotRows: place.rows, sums };
    });
    const moved = layout.dense.filter(({ gradient }) => gradient >= 0);
    this.#dense = moved.map(({ gradient, length }, i) => {
      const from = address(bound, "outputs", `grad:${parameters[i]!}`);
      return { from: heap.u8(from, 4 * length), at: gradient };
    });
  }

  /**
   * @param batch address of the prepared batch that the step has run with
   * @param samples what its rows weigh
   * @throws when the communicator has failed
   */
  push(batch: number, samples: number): void {
    if (this.#ring.waitFree() !== 1) throw new Error("another trainer thread failed: the communicator");
    const slot = this.#ring.begin();
    const at = this.#ring.address(slot);
    for (const sparse of this.#sparse) sparse.collect();
    for (let i = 0; i < this.#groups.length; i++) this.#pack(this.#groups[i]!, at, batch);
    for (let i = 0; i < this.#dense.length; i++) {
      const { from, at: offset } = this.#dense[i]!;
      this.#bytes.set(from, at + offset);
    }
    this.#ring.header(slot)[HEADER_SAMPLES] = samples;
    this.#ring.fill();
  }

  dispose(): void {
    for (const sparse of this.#sparse) sparse.dispose();
  }

  #pack({ index, ids, values, width, stride, slotIds, slotRows, sums }: GroupSums, at: number, batch: number): void {
    const { rows, count } = sums[0]!;
    this.#counts[(at + this.#layout.counts) / 4 + index] = count;
    this.#kernel.idsOf(rows, count, (batch + slotRows) / HANDLE_UNIT, stride, batch + slotIds, at + ids);
    let to = at + values;
    for (let i = 0; i < sums.length; i++) {
      const { sums: from, dim } = sums[i]!;
      this.#kernel.copyRows(from, 4 * dim, count, 4 * dim, to, 4 * width);
      to += 4 * dim;
    }
  }
}

function sparseGradients(heap: Heap, bound: Bound, table: SinkTable): SparseGradients {
  const { name, contributions, zeroRow, fields } = table;
  const lookups = new Map(contributions.map(({ lookup, occurrences }) => [lookup, occurrences]));
  return new SparseGradients(heap, {
    zeroRow,
    lookups: Array.from({ length: lookups.size }, (_, i) => ({
      rows: address(bound, "outputs", `rows:${name}/${i}`),
      occurrences: lookups.get(i)!,
    })),
    sources: contributions.map(({ lookup, field, pool }, i) => ({
      ...{ lookup, field, gradient: address(bound, "outputs", `grad:${name}/${i}`) },
      ...(pool === undefined ? {} : { pool }),
    })),
    dims: Object.fromEntries(fields.map(({ name: field, dim }) => [field, dim])),
  });
}
