import { once } from "node:events";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Heap } from "./heap.ts";
import { Barrier } from "./threads.ts";

describe("alloc and free", () => {
  test("live blocks are aligned, zeroed and never overlap; freed memory merges again", () => {
    const action = fc.oneof(
      fc.record({ bytes: fc.integer({ min: 0, max: 5000 }), align: fc.constantFrom(1, 16, 64, 128, 256, 4096) }),
      fc.nat(1000),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
        const heap = Heap.create({ maxBytes: 2 ** 20 });
        const live: { start: number; end: number }[] = [];
        const release = (index: number): void => heap.free(live.splice(index, 1)[0]!.start);
        for (const action of actions) {
          if (typeof action === "number") {
            if (live.length > 0) release(action % live.length);
            continue;
          }
          const start = heap.alloc(action.bytes, action.align);
          const end = start + action.bytes;
          expect(start % Math.max(64, action.align)).toBe(0);
          expect(live.some((other) => start < other.end && other.start < end)).toBe(false);
          const view = heap.u8(start, action.bytes);
          expect(view.every((byte) => byte === 0)).toBe(true);
          view.fill(255);
          live.push({ start, end });
        }
        while (live.length > 0) release(live.length >> 1);
        expect(heap.liveBytes).toBe(0);
        heap.free(heap.alloc(2 ** 20 - 65536 - 64));
      }),
      { numRuns: 60 },
    );
  });

  test.each([
    ["i32", 2 ** 32, 2 ** 31, 2 ** 30],
    ["i64", 2 ** 34, 2 ** 32 + 2 ** 31, 2 ** 33],
  ] as const)(
    "pointers of type %s work like any others up to the heap's end",
    (addressType, maxBytes, lowBytes, highBytes) => {
      const heap = Heap.create({ maxBytes });
      expect(heap.addressType).toBe(addressType);
      expect(Heap.attach(heap.memory).addressType).toBe(addressType);
      const low = heap.alloc(lowBytes);
      const high = heap.alloc(highBytes);
      expect(high).toBeGreaterThan(lowBytes);
      const end = heap.f32(high + highBytes - 64, 16);
      expect([...end]).toEqual(new Array(16).fill(0));
      end.fill(7);
      heap.free(low);
      const again = heap.alloc(100);
      expect(again).toBeLessThan(lowBytes);
      expect(end[3]).toBe(7);
      heap.free(high);
      heap.free(again);
      // No larger allocation now: it would be zeroed, gigabytes of memory that were never touched so far.
      expect(heap.liveBytes).toBe(0);
    },
  );

  test("a full heap says how much was wanted and how much is there", () => {
    const heap = Heap.create({ maxBytes: 2 ** 20 });
    heap.alloc(500_000);
    expect(() => heap.alloc(600_000)).toThrow(/heap is full: 600000 bytes wanted, \d+ of 1048576 in use/);
    heap.alloc(400_000);
  });

  test("wrong arguments are named", () => {
    const heap = Heap.create({ maxBytes: 2 ** 20 });
    expect(() => heap.alloc(-1)).toThrow("bytes must be an integer of at least 0, got -1");
    expect(() => heap.alloc(8, 48)).toThrow("align must be a power of two up to 2^30, got 48");
    expect(() => heap.free(77)).toThrow("77 is not a pointer that alloc gave");
    const pointer = heap.alloc(1000);
    heap.alloc(8);
    expect(() => heap.free(pointer + 64)).toThrow("is not a pointer that alloc gave");
    heap.free(pointer);
    expect(() => heap.free(pointer)).toThrow(`${pointer} is already free`);
    expect(() => heap.f32(pointer + 2, 1)).toThrow(`heap.f32: the pointer must be a multiple of 4, got ${pointer + 2}`);
    expect(() => heap.u64(2 ** 20 - 8, 2)).toThrow("heap.u64: 2 elements at 1048568 do not fit in the heap of 1048576");
    expect(() => Heap.create({ maxBytes: 2 ** 35 })).toThrow(
      "heap maxBytes must be an integer from 131072 to 17179869184",
    );
  });

  test("attach refuses a memory without a heap", () => {
    const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
    expect(() => Heap.attach(memory)).toThrow("holds no heap");
    const plain = new WebAssembly.Memory({ initial: 2 });
    expect(() => Heap.attach(plain)).toThrow("needs a shared WebAssembly.Memory");
  });
});

test("four threads allocate, free and meet at barriers without disturbing each other", async () => {
  const heap = Heap.create({ maxBytes: 2 ** 24 });
  const control = heap.alloc(128);
  const before = heap.liveBytes;
  const workers = Array.from({ length: 4 }, (_, id) => {
    const workerData = { memory: heap.memory, control, parties: 4, id, rounds: 60 };
    return new Worker(new URL("../../test/workers/heap-stress.ts", import.meta.url), { workerData });
  });
  const results = await Promise.all(workers.map(async (worker) => (await once(worker, "message"))[0]));
  expect(results).toEqual(new Array(4).fill({ errors: 0, skew: 0 }));
  expect(heap.liveBytes).toBe(before);
});

describe("Barrier", () => {
  test("waits for others no longer than told, and not at all once stopped", () => {
    const words = Heap.create({ maxBytes: 2 ** 20 }).i32(65536, 16);
    const barrier = new Barrier(words, 2);
    expect(() => barrier.wait(5)).toThrow("only 1 of 2 threads reached the barrier in 5 ms");
    barrier.stop();
    expect(barrier.wait()).toBe(false);
    expect(() => new Barrier(words, 0)).toThrow("parties must be a positive integer, got 0");
    expect(() => new Barrier(new Int32Array(3), 1)).toThrow("3 i32 words of shared memory");
  });
});
