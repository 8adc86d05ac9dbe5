// The contract suite: every provider, every layout and epilogue, threads at once, high addresses.
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Heap, moduleUrl } from "../../memory/index.ts";
import { checkMatmul, type MatmulCase, shapeOf } from "./contract.ts";
import { contender, multipliers, type ThreadTask, whyAbsent } from "./testing.ts";

const epilogues = fc.oneof(
  fc.record({ accumulate: fc.boolean() }),
  fc.record({ bias: fc.boolean(), activation: fc.constantFrom("relu", "sigmoid", "tanh", undefined) }),
);
const cases = (size: fc.Arbitrary<number>): fc.Arbitrary<MatmulCase> =>
  fc
    .record({ m: size, n: size, k: size, transposeA: fc.boolean(), transposeB: fc.boolean(), seed: fc.nat(1e6) })
    .chain((shape) => epilogues.map((epilogue) => ({ ...shape, ...definedOnly(epilogue) })));
const definedOnly = (record: object): object =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));

const layouts = [
  { transposeA: false, transposeB: false },
  { transposeA: true, transposeB: false },
  { transposeA: false, transposeB: true },
  { transposeA: true, transposeB: true },
];
// A layer's product and its two gradients; several blocks of k, of rows and of columns; and output layers.
const layers: MatmulCase[] = [
  { m: 25, n: 40, k: 429, bias: true, activation: "relu" },
  { m: 6, n: 432, k: 400, transposeB: true },
  { m: 100, n: 12, k: 512, transposeA: true, accumulate: true },
  { m: 7, n: 2060, k: 9, bias: true, activation: "tanh" },
  { m: 203, n: 3, k: 1030, bias: true, activation: "sigmoid" },
  { m: 100, n: 10, k: 512, transposeA: true },
  { m: 130, n: 1, k: 400, bias: true, activation: "sigmoid" },
  { m: 400, n: 1, k: 512, transposeA: true },
  { m: 60, n: 400, k: 1, transposeB: true },
];

for (const name of multipliers) {
  const absent = whyAbsent(name);
  describe.skipIf(absent)(`${name}${absent ? ` (skipped: ${absent})` : ""}`, () => {
    const heap = Heap.create({ maxBytes: 2 ** 26 });
    const subject = contender(heap, name);

    test("small and odd shapes, all layouts and epilogues", () => {
      fc.assert(
        fc.property(cases(fc.integer({ min: 1, max: 40 })), (matmul) => {
          checkMatmul(heap, subject, matmul);
        }),
        { numRuns: 100 },
      );
    });

    test("vectors", () => {
      const length = fc.constantFrom(1, 1, 2, 3, 4, 5, 17, 64, 131);
      fc.assert(
        fc.property(cases(length), (matmul) => {
          checkMatmul(heap, subject, matmul);
        }),
        { numRuns: 100 },
      );
    });

    test("nothing to contract gives act(bias), or leaves the sum", () => {
      for (const epilogue of [{}, { bias: true, activation: "sigmoid" as const }, { accumulate: true }]) {
        for (const layout of layouts) checkMatmul(heap, subject, { m: 5, n: 9, k: 0, ...layout, ...epilogue });
      }
    });

    test("the layers of a click model", () => {
      for (const layer of layers) checkMatmul(heap, subject, layer);
    });

    // The measured choice may differ between threads; each way alone must not.
    test.skipIf(name === "onednn")("two threads at once get what one gets", async () => {
      const tasks = layers.map((layer, seed) => ({ ...layer, m: Math.min(layer.m, 8), seed }));
      const alone = tasks.map((task) => checkMatmul(heap, subject, task));
      const together = await Promise.all(
        Array.from({ length: 2 }, () => inThread({ memory: heap.memory, contender: name, cases: tasks })),
      );
      for (const results of together) expect(results).toEqual(alone);
    });

    test.each([
      ["2 GiB", 2 ** 31, 2 ** 32],
      ["4 GiB", 2 ** 32, 2 ** 33],
      ["15 GiB", 15 * 2 ** 30, 2 ** 34],
    ])("addresses above %s", (_, from, maxBytes) => {
      const large = Heap.create({ maxBytes });
      large.alloc(from);
      const there = contender(large, name);
      expect(large.alloc(64)).toBeGreaterThan(from);
      for (const layer of layers) {
        const few = { ...layer, m: Math.min(layer.m, 8) };
        const bits = checkMatmul(large, there, few);
        if (name !== "onednn") expect(bits).toEqual(checkMatmul(heap, subject, few));
      }
    });

    test("refuses what it cannot compute, with the reason", () => {
      const spec = { ...shapeOf({ m: 8, n: 8, k: 8 }), a: 64, b: 320, c: 576, scratch: 1024, scratchBytes: 2 ** 20 };
      expect(() => subject.scratchBytes({ ...spec, m: 0 })).toThrow(/m is 0/);
      expect(() => subject.matmul({ ...spec, k: 1.5 })).toThrow(/k is 1.5/);
      expect(() => subject.matmul({ ...spec, a: 66 })).toThrow(/address a is 66/);
      expect(() => subject.matmul({ ...spec, c: 2 ** 34 })).toThrow(/address c/);
      expect(() => subject.matmul({ ...spec, bias: 4096, accumulate: true })).toThrow(/accumulate excludes bias/);
      if (subject.scratchBytes(spec) > 0) {
        expect(() => subject.matmul({ ...spec, scratchBytes: 0 })).toThrow(/0 bytes of scratch/);
      }
    });
  });
}

function inThread(task: ThreadTask): Promise<Uint32Array[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(moduleUrl(import.meta.url, "testing"), { workerData: task });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}
