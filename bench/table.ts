// Sparse tables on the ids of a click model: gather, pooled gather, look-up, insert and AdaGrad with duplicates summed
// first, by one thread, beside plain JavaScript that does the same over the same data in the same run.
import { bindKernels, compileKernels } from "../src/kernels/index.ts";
import { Heap } from "../src/memory/index.ts";
import { adagrad, updateRule } from "../src/optim/index.ts";
import { SparseGradients, Table, type TableSpec } from "../src/table/index.ts";
import { clickData, vocabulary } from "./lib/click-data.ts";
import { atLeast, type BenchOptions, type BenchResult, type BenchRow } from "./lib/report.ts";

const FIELDS = 26;
const BATCH = 512 * FIELDS;
const BATCHES = 60;
const COUNT = BATCH * BATCHES;
const DIM = 16;

/**
 * Figures of prototypes on another processor, and how many times plain JavaScript's on that processor they were. A slower
 * machine may miss the first; the second should hold anywhere.
 */
const GOALS = {
  gather: { rate: 157, ratio: 157 / 23 },
  pool: { rate: 186, ratio: 186 / 22 },
  lookup: { rate: 66, ratio: 66 / 23 },
  insert: { rate: 19, ratio: 19 / 5 },
  scatter: { rate: 48, ratio: 48 / 13 },
} as const;
type Work = keyof typeof GOALS;

const METRICS: Readonly<Record<Work, string>> = {
  gather: "gather dim 16, Zipf ids",
  pool: "sum-pool of 26 rows, Zipf ids",
  lookup: "look-up, Zipf ids",
  insert: "unique inserts",
  scatter: "AdaGrad scatter",
};

const rule = updateRule(adagrad({ lr: 0.01 }), "lr");
const spec: TableSpec = {
  name: "bench",
  seed: 1,
  capacity: vocabulary,
  fields: [{ name: "embedding", dim: DIM, slots: rule.slots, init: { kind: "uniform", scale: 0.01 } }],
};
const oneNumber: TableSpec = {
  ...spec,
  fields: [{ name: "weight", dim: 1, slots: [], init: { kind: "zeros", scale: 0 } }],
};

interface Task {
  readonly system: string;
  readonly metric: string;
  /** Handles one batch of BATCH items, given its number. */
  call(batch: number): void;
}

/**
 * Measures tasks in turns of short slices and keeps the best of each, so that a machine that others load now and then
 * slows none of them more than another. Figures are millions of items a second.
 */
class Meter {
  readonly rows: BenchRow[] = [];
  readonly #tasks: Task[] = [];

  add(system: string, metric: string, value: number): number {
    this.rows.push({ system, metric, value, unit: "M/s" });
    return value;
  }

  /** Measured by `run`. */
  task(system: string, metric: string, call: (batch: number) => void): void {
    this.#tasks.push({ system, metric, call });
  }

  /** Gives each task `seconds` in all. */
  run(seconds: number): void {
    const slices = 60;
    const best = this.#tasks.map(() => 0);
    for (let slice = 0, batch = 0; slice < slices; slice++) {
      for (const [i, task] of this.#tasks.entries()) {
        const start = performance.now();
        let calls = 0;
        let elapsed = 0;
        while (elapsed < (1000 * seconds) / slices) {
          task.call(batch);
          batch = (batch + 1) % BATCHES;
          calls++;
          elapsed = performance.now() - start;
        }
        best[i] = Math.max(best[i]!, (BATCH * calls) / elapsed / 1000);
      }
    }
    for (const [i, { system, metric }] of this.#tasks.entries()) this.add(system, metric, best[i]!);
  }

  of(system: string, work: Work): number {
    return this.rows.find((row) => row.system === system && row.metric === METRICS[work])!.value;
  }
}

/** Runs the benchmark and says which goals were met. */
export async function run(options: BenchOptions & { readonly seconds?: number } = {}): Promise<BenchResult> {
  const meter = new Meter();
  // Scattered: popular ids are no neighbours, as hashing or the order of first appearance would have it.
  const ids = Uint32Array.from(clickData(COUNT / FIELDS, 1).ids, shuffled);
  const heap = Heap.create();
  const keys = heap.alloc(8 * COUNT);
  const view = heap.u64(keys, COUNT);
  for (let i = 0; i < COUNT; i++) view[i] = keyOf(ids[i]!);
  addReads(heap, keys, meter);
  addPlain(ids, meter);
  measureInserts(heap, meter);
  addPlainIndex(view, meter);
  meter.run(options.seconds ?? 0.3);
  const works = Object.keys(GOALS) as Work[];
  return {
    rows: meter.rows,
    goals: [
      ...works.map((work) => atLeast(`${METRICS[work]}, M/s`, meter.of("flotilla", work), GOALS[work].rate)),
      ...works.map((work) => {
        const ratio = meter.of("flotilla", work) / meter.of("plain JavaScript", work);
        return atLeast(`${METRICS[work]}, × plain JavaScript`, ratio, GOALS[work].ratio);
      }),
    ],
  };
}

/** A permutation of the ids, by a factor near the golden ratio that shares no divisor with their number. */
function shuffled(id: number): number {
  return (id * 618_029) % vocabulary;
}

/** A 64-bit key of an id, as hashing a feature would give. */
function keyOf(id: number): bigint {
  return (BigInt(id + 1) * 0x9e3779b97f4a7c15n) & 0xffffffffffffffffn;
}

function addReads(heap: Heap, keys: number, meter: Meter): void {
  const table = Table.create(heap, spec);
  const handles = heap.alloc(4 * COUNT);
  const scattered = heap.alloc(4 * COUNT);
  const out = heap.alloc(4 * DIM * BATCH);
  const others = heap.alloc(8 * COUNT);
  for (let first = 0; first < vocabulary; first += COUNT) {
    const n = Math.min(COUNT, vocabulary - first);
    const view = heap.u64(others, n);
    for (let i = 0; i < n; i++) view[i] = keyOf(first + i);
    table.lookup(others, n, handles, true);
  }
  const random = heap.u64(others, COUNT);
  for (let i = 0; i < COUNT; i++) random[i] = keyOf(shuffled(i % vocabulary));
  table.lookup(keys, COUNT, handles, false);
  table.lookup(others, COUNT, scattered, false);
  meter.task("flotilla", METRICS.lookup, (batch) =>
    table.lookup(keys + 8 * BATCH * batch, BATCH, handles + 4 * BATCH * batch, false),
  );
  meter.task("flotilla", "look-up, ids at random", (batch) =>
    table.lookup(others + 8 * BATCH * batch, BATCH, scattered + 4 * BATCH * batch, false),
  );
  meter.task("flotilla", METRICS.gather, (batch) => table.gather("embedding", handles + 4 * BATCH * batch, BATCH, out));
  meter.task("flotilla", "gather dim 16, ids at random", (batch) =>
    table.gather("embedding", scattered + 4 * BATCH * batch, BATCH, out),
  );
  meter.task("flotilla", METRICS.pool, (batch) =>
    table.gatherPool("embedding", handles + 4 * BATCH * batch, BATCH / FIELDS, FIELDS, "sum", out),
  );
  addScatter(heap, table, handles, meter);
}

function addScatter(heap: Heap, table: Table, handles: number, meter: Meter): void {
  const { offset, slotOffsets } = table.field("embedding");
  const kernel = { type: "rowUpdate", rule, dim: DIM, weightOffset: offset, slotOffsets } as const;
  const [update] = bindKernels(compileKernels([kernel]), heap.memory);
  const gradient = heap.alloc(4 * DIM * BATCH);
  heap.f32(gradient, DIM * BATCH).forEach((_, i, all) => {
    all[i] = Math.sin(i);
  });
  const lr = heap.alloc(4);
  heap.f32(lr, 1)[0] = 0.01;
  const rows = heap.alloc(4 * BATCH);
  const gradients = new SparseGradients(heap, {
    zeroRow: table.zeroRow,
    lookups: [{ rows, occurrences: BATCH }],
    sources: [{ lookup: 0, field: "embedding", gradient }],
    dims: { embedding: DIM },
  });
  const [sums] = gradients.fields;
  const all = heap.u8(handles, 4 * COUNT);
  const batchRows = heap.u8(rows, 4 * BATCH);
  const collect = (batch: number): void => {
    batchRows.set(all.subarray(4 * BATCH * batch, 4 * BATCH * (batch + 1)));
    gradients.collect();
  };
  meter.task("flotilla", "gradients summed by row, dim 16", collect);
  meter.task("flotilla", METRICS.scatter, (batch) => {
    collect(batch);
    update!(sums!.rows, sums!.sums, sums!.count, lr);
  });
}

/** New keys into tables of one number a row: one that knows how many will come, one that grows; and into wide rows. */
function measureInserts(heap: Heap, meter: Meter): void {
  const keys = heap.alloc(8 * vocabulary);
  const handles = heap.alloc(4 * vocabulary);
  const view = heap.u64(keys, vocabulary);
  for (let i = 0; i < vocabulary; i++) view[i] = keyOf(i);
  const insert = (spec: TableSpec): number => {
    let best = 0;
    for (let repeat = 0; repeat < 3; repeat++) {
      const table = Table.create(heap, spec);
      const start = performance.now();
      for (let first = 0; first + BATCH <= vocabulary; first += BATCH) {
        table.lookup(keys + 8 * first, BATCH, handles + 4 * first, true);
      }
      best = Math.max(best, table.size() / (performance.now() - start) / 1000);
      table.detach();
      table.dispose();
    }
    return best;
  };
  meter.add("flotilla", METRICS.insert, insert(oneNumber));
  meter.add("flotilla", "unique inserts, table grows from nothing", insert({ ...oneNumber, capacity: 0 }));
  meter.add("flotilla", "unique inserts with 16 initial weights", insert(spec));
}

/** What one would write in JavaScript: ids are row numbers, a row 16 weights and 16 accumulators of one flat array. */
function addPlain(ids: Uint32Array, meter: Meter): void {
  const weights = new Float32Array(vocabulary * 2 * DIM).fill(0.5);
  const dense = new Float32Array(BATCH * DIM).fill(0.1);
  meter.task("plain JavaScript", METRICS.gather, (batch) => {
    for (let i = 0, o = 0; i < BATCH; i++) {
      const row = ids[batch * BATCH + i]! * 2 * DIM;
      for (let d = 0; d < DIM; d++) dense[o++] = weights[row + d]!;
    }
  });
  meter.task("plain JavaScript", METRICS.pool, (batch) => {
    dense.fill(0, 0, (BATCH / FIELDS) * DIM);
    for (let bag = 0, i = batch * BATCH; bag < BATCH / FIELDS; bag++) {
      for (let f = 0; f < FIELDS; f++, i++) {
        const row = ids[i]! * 2 * DIM;
        for (let d = 0; d < DIM; d++) dense[bag * DIM + d]! += weights[row + d]!;
      }
    }
  });
  meter.task("plain JavaScript", METRICS.scatter, (batch) => {
    for (let i = 0, g = 0; i < BATCH; i++) {
      const row = ids[batch * BATCH + i]! * 2 * DIM;
      for (let d = row; d < row + DIM; d++, g++) {
        weights[d + DIM]! += dense[g]! * dense[g]!;
        weights[d]! -= (0.01 * dense[g]!) / (Math.sqrt(weights[d + DIM]!) + 1e-10);
      }
    }
  });
}

/**
 * Open addressing over typed arrays, safe for threads that insert at once but without growth and without rows; and the
 * language's own Map.
 */
function addPlainIndex(zipf: BigUint64Array, meter: Meter): void {
  const mask = 2 ** 21 - 1;
  const slots = new BigUint64Array(new SharedArrayBuffer(8 * (mask + 1)));
  const values = new Uint32Array(new SharedArrayBuffer(4 * (mask + 1)));
  const counter = new Uint32Array(new SharedArrayBuffer(4));
  const keys = BigUint64Array.from({ length: vocabulary }, (_, i) => keyOf(i));
  const rows = new Uint32Array(BATCH);
  const access = (source: BigUint64Array, halves: Uint32Array, first: number): void => {
    for (let i = first; i < first + BATCH; i++) {
      const key = source[i]!;
      let hash = halves[2 * i]! ^ Math.imul(halves[2 * i + 1]!, 0x9e3779b1);
      hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
      hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
      let place = (hash ^ (hash >>> 16)) & mask;
      for (let found = slots[place]!; found !== key; found = slots[place]!) {
        if (found === 0n && Atomics.compareExchange(slots, place, 0n, key) === 0n) {
          Atomics.store(values, place, Atomics.add(counter, 0, 1) + 1);
          break;
        }
        if (found !== 0n) place = (place + 1) & mask;
      }
      rows[i - first] = values[place]!;
    }
  };
  const halvesOf = (source: BigUint64Array): Uint32Array =>
    new Uint32Array(source.buffer, source.byteOffset, 2 * source.length);
  let best = 0;
  for (let repeat = 0; repeat < 3; repeat++) {
    slots.fill(0n);
    counter[0] = 0;
    const start = performance.now();
    for (let first = 0; first + BATCH <= vocabulary; first += BATCH) access(keys, halvesOf(keys), first);
    best = Math.max(best, counter[0] / (performance.now() - start) / 1000);
  }
  meter.add("plain JavaScript", METRICS.insert, best);
  const halves = halvesOf(zipf);
  meter.task("plain JavaScript", METRICS.lookup, (batch) => access(zipf, halves, batch * BATCH));
  const map = new Map(Array.from(keys, (key, i) => [key, i]));
  meter.task("plain JavaScript, Map", METRICS.lookup, (batch) => {
    for (let i = 0; i < BATCH; i++) rows[i] = map.get(zipf[batch * BATCH + i]!)!;
  });
}
