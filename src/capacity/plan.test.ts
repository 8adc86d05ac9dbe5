// The memory of a plan against real tables, and what follows from the formulas.
import { expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import { adagrad, adam, type Optimizer, sgd } from "../optim/index.ts";
import { RowStore } from "../ps/row-store.ts";
import { Scratch } from "../ps/scratch.ts";
import { Table } from "../table/index.ts";
import {
  type Constants,
  defaultConstants,
  type PlanOptions,
  partitionMemory,
  plan,
  rowSpec,
  spilledMemory,
} from "./index.ts";

const optimizers: Record<string, Optimizer> = { adagrad: adagrad({ lr: 0.1 }), adam: adam(), sgd: sgd({ lr: 0.1 }) };

test.each([
  ["adagrad", 8, 60_000],
  ["adagrad", 8, 140_000],
  ["adam", 16, 100_000],
  ["sgd", 1, 200_000],
])("%s, dim %i, %i rows: within a tenth of a real table's bytes", (name, dim, rows) => {
  const { spec, strideBytes } = rowSpec({ dim, linear: true, statistics: true, optimizer: optimizers[name]! });
  const heap = Heap.create({ maxBytes: 2 ** 28 });
  const before = heap.liveBytes;
  const table = Table.create(heap, spec);
  const keys = heap.alloc(8 * rows);
  const handles = heap.alloc(4 * rows);
  heap.u64(keys, rows).set(Array.from({ length: rows }, (_, i) => BigInt(i + 1) * 0x9e3779b97f4a7n));
  table.lookup(keys, rows, handles, true);
  for (const block of [keys, handles]) heap.free(block);
  expect(table.size()).toBe(rows);
  const { total } = partitionMemory(rows, strideBytes);
  const real = heap.liveBytes - before;
  expect(total / real).toBeGreaterThan(0.9);
  expect(total / real).toBeLessThan(1.1);
});

test("rows are those of a partition that keeps statistics and may spill", () => {
  const heap = Heap.create({ maxBytes: 2 ** 24 });
  const { spec, strideBytes } = rowSpec({ dim: 8, linear: true, statistics: true, optimizer: optimizers.adagrad! });
  const own = { ...spec, fields: spec.fields.filter(({ name }) => !name.startsWith("_")) };
  const store = new RowStore(heap, new Scratch(heap), own, { statistics: true, spillPath: "unused" });
  expect(store.table.layout.strideBytes).toBe(strideBytes);
});

test("a row on disk takes at most 46 bytes of memory", () => {
  for (const rows of [1e5, 1e6, 3e6, 1e7]) {
    expect(spilledMemory(rows) / rows).toBeLessThanOrEqual(46);
    expect(spilledMemory(rows) / rows).toBeGreaterThanOrEqual(22);
  }
});

const constants: Constants = {
  ...{ source: "a test", pull: { rowNs: 100, numberNs: 5 }, push: { rowNs: 200, numberNs: 10 } },
  ...{ network: { unix: 3e9, tcp: 2e9, tls: 1e9 }, flops: 3e10, distinct: 0.5, merged: 0.5 },
};
const base: PlanOptions = {
  ...{ features: 1e9, row: rowSpec({ dim: 8, linear: true, statistics: true, optimizer: optimizers.adagrad! }) },
  ...{ idsPerSample: 100, dense: 10, hidden: [100], batch: 500, cores: 10, memoryBytes: 100e9 },
  ...{ networkBytes: 1e9, diskBytes: 1e9, inMemory: 1, wireBytes: 4, journal: true, constants },
};

test("traffic, throughput and bottleneck follow from the formulas", () => {
  const found = plan({ ...base, servers: 4, workers: 2 });
  const products = 810 * 100 + 100;
  const dense = (4 * (products + 100 + 10 + 2)) / (500 * 8);
  expect(found.parameters).toBe(9e9 + products + 112);
  expect(found.traffic.pulled).toBeCloseTo(50 * 36 + dense, 6);
  expect(found.traffic.pushed).toBeCloseTo(8 * 50 + 25 * (8 + 8 + 36) + dense, 6);
  const limit = (resource: RegExp): number =>
    found.limits.find((each) => resource.test(each.resource))!.samplesPerSecond;
  const wire = (found.traffic.pulled + found.traffic.pushed) / 1e9;
  expect(limit(/cores of the workers/)).toBeCloseTo(20 / ((6 * products) / 3e10 + wire), 3);
  const rows = 50 * 145e-9 + 25 * 290e-9;
  expect(limit(/cores of the servers/)).toBeCloseTo(40 / (rows + (dense / 4) * 10e-9 + wire), 3);
  expect(limit(/network of the workers/)).toBeCloseTo((2 * 0.9e9) / found.traffic.pulled, 3);
  expect(found.limits[0]!.resource).toBe("network of the workers");
  expect([found.workers.processesEach, found.workers.threadsEach]).toEqual([2, 5]);
  expect(found.samplesPerSecond).toBe(found.limits[0]!.samplesPerSecond);
  expect(found.disk.journalBytesPerSecond).toBeCloseTo(found.samplesPerSecond * found.traffic.pushed, 0);
});

test("what is asked for is reached by as many hosts as it says, and not by one less", () => {
  const wanted = 3e6;
  const found = plan({ ...base, samplesPerSecond: wanted });
  expect(found.samplesPerSecond).toBe(wanted);
  const { count: servers } = found.servers;
  const { count: workers } = found.workers;
  expect(plan({ ...base, samplesPerSecond: wanted, servers, workers: workers - 1 }).samplesPerSecond).toBeLessThan(
    wanted,
  );
  const fewer = plan({ ...base, samplesPerSecond: wanted, servers: servers - 1, workers });
  expect(fewer.samplesPerSecond < wanted || !fewer.fits).toBe(true);
});

test("the fewest servers that hold the tables; partitions fit their heaps", () => {
  for (const features of [1e6, 1e9, 1e11]) {
    const found = plan({ ...base, features, memoryBytes: 256e9 });
    expect(found.fits).toBe(true);
    expect(found.memory.perServer).toBeLessThanOrEqual(0.8 * 256e9);
    const rows = features / found.servers.count / found.servers.partitionsEach;
    expect(rows * (found.rowBytes + 40)).toBeLessThanOrEqual(0.6 * 2 ** 32);
  }
  expect(plan({ ...base, features: 1e11, servers: 3 }).fits).toBe(false);
  const spilled = plan({ ...base, features: 1e11, inMemory: 0.1 });
  expect(spilled.memory.total).toBeLessThan(0.6 * plan({ ...base, features: 1e11 }).memory.total);
  expect(spilled.disk.spilled).toBeCloseTo(0.9e11 * (16 + base.row.strideBytes), -3);
});

test("halves on the wire and no journal", () => {
  const found = plan({ ...base, wireBytes: 2, journal: false });
  expect(found.traffic.pulled).toBeLessThan(0.51 * plan(base).traffic.pulled);
  expect(found.disk.journalBytesPerSecond).toBe(0);
  expect(found.limits.some(({ resource }) => resource.startsWith("disks"))).toBe(false);
});

test("the default constants are those of a real machine", () => {
  expect(defaultConstants.source).toMatch(/\d{4}-\d\d-\d\d/);
  expect(1e9 / (defaultConstants.push.rowNs + 16 * defaultConstants.push.numberNs)).toBeGreaterThan(1e6);
});
