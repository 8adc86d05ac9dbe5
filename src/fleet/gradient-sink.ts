// Leaves a step's gradients for the communicator: rows summed by id, dense gradients as they are.
import type { Heap } from "../memory/index.ts";
import type { GradientLayout, PreparedLayout } from "../ps/worker/index.ts";
// Trainer threads load no more than they need: the rest of the folder brings the network.
import { type StatisticsKernel, statisticsKernel, type WorkerKernel, workerKernel } from "../ps/worker/kernel.ts";
import { numbersOf } from "../ps/worker/plan.ts";
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
  /** Where a batch has what shows and clicks are counted by: offsets in its slot. */
  readonly samples: {
    readonly batch: number;
    readonly weights: number;
    /** Undefined where nothing is clicked on. */
    readonly labels: number | undefined;
  };
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
  /** Numbers of a row: with its counts. */
  readonly numbers: number;
  readonly stride: number;
  readonly counted: readonly Counted[] | undefined;
  /** Of the batch's slot. */
  readonly slotIds: number;
  readonly slotRows: number;
  readonly sums: readonly RowSums[];
}

/** A look-up whose occurrences are shows. */
interface Counted {
  /** Address of the handles. */
  readonly handles: number;
  readonly occurrences: number;
  readonly zeroRow: number;
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
  readonly #heap: Heap;
  readonly #statistics: StatisticsKernel;
  readonly #samples: SinkWork["samples"];
  /** Pairs of shows and clicks by the ids' numbers in the batch; 0 where nothing is counted. */
  readonly #shows: number;
  readonly #showBytes: number;

  constructor(heap: Heap, bound: Bound, work: SinkWork) {
    const { ring, layout, prepared, tables, parameters } = work;
    this.#kernel = workerKernel(heap);
    this.#statistics = statisticsKernel(heap);
    this.#heap = heap;
    this.#samples = work.samples;
    this.#ring = Ring.attach(heap, ring, "fill");
    this.#layout = layout;
    this.#bytes = heap.u8(0, heap.capacity);
    this.#counts = heap.u32(0, heap.capacity / 4);
    const made = tables.map((table) => ({ ...table, sparse: sparseGradients(heap, bound, table) }));
    this.#sparse = made.map(({ sparse }) => sparse);
    this.#groups = layout.groups.map((group, index) => {
      const { table, fields, width, ids, values } = group;
      const {
        name,
        fields: all,
        sparse,
        strideBytes,
        zeroRow,
        contributions,
      } = made.find((each) => each.table === table)!;
      const place = prepared.tables.find((each) => each.table === table)!;
      const names = fields.map((field) => all[field]!.name);
      const sums = names.map((name) => sparse.fields.find(({ field }) => field === name)!);
      const stride = strideBytes / HANDLE_UNIT;
      const counted = group.counted?.map((lookup) => {
        const { occurrences } = contributions.find((each) => each.lookup === lookup)!;
        return { handles: address(bound, "outputs", `rows:${name}/${lookup}`), occurrences, zeroRow };
      });
      const places = { slotIds: place.ids, slotRows: place.rows };
      return { index, ids, values, width, numbers: numbersOf(group), stride, counted, ...places, sums };
    });
    this.#showBytes = 8 * Math.max(0, ...prepared.tables.map(({ most }) => most));
    this.#shows = this.#groups.some(({ counted }) => counted !== undefined) ? heap.alloc(this.#showBytes) : 0;
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
    if (this.#shows !== 0) this.#heap.free(this.#shows);
  }

  #pack(group: GroupSums, at: number, batch: number): void {
    const { index, ids, values, width, numbers, stride, counted, slotIds, slotRows, sums } = group;
    const { rows, count } = sums[0]!;
    this.#counts[(at + this.#layout.counts) / 4 + index] = count;
    this.#kernel.idsOf(rows, count, (batch + slotRows) / HANDLE_UNIT, stride, batch + slotIds, at + ids);
    let to = at + values;
    for (let i = 0; i < sums.length; i++) {
      const { sums: from, dim } = sums[i]!;
      this.#kernel.copyRows(from, 4 * dim, count, 4 * dim, to, 4 * numbers);
      to += 4 * dim;
    }
    if (counted === undefined) return;
    this.#countShows(counted, batch, slotRows, stride);
    const first = (batch + slotRows) / HANDLE_UNIT;
    this.#statistics.takeCounts(rows, count, first, stride, this.#shows, at + values + 4 * width, 4 * numbers);
  }

  #countShows(lookups: readonly Counted[], batch: number, slotRows: number, stride: number): void {
    const { weights, labels, batch: samples } = this.#samples;
    this.#bytes.fill(0, this.#shows, this.#shows + this.#showBytes);
    for (let i = 0; i < lookups.length; i++) {
      const { handles, occurrences, zeroRow } = lookups[i]!;
      const label = labels === undefined ? 0 : batch + labels;
      const first = (batch + slotRows) / HANDLE_UNIT;
      const width = occurrences / samples;
      const places = [label, batch + weights, first, stride, zeroRow, this.#shows] as const;
      this.#statistics.countShows(handles, occurrences, width, ...places);
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
