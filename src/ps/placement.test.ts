// Which partition has what: the kernel against the definition, even pieces, all of them exactly once.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Heap, instantiate } from "../memory/index.ts";
import { highHeap } from "../memory/testing.ts";
import { adagrad, adagradShared, lamb } from "../optim/index.ts";
import type { SumKernel } from "./kernels.ts";
import { MIN_BLOCK, partitionOf, placeDense } from "./placement.ts";
import { splitKernel } from "./split.ts";

const key = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 50n }));

describe.each([
  ["32-bit addresses", Heap.create({ maxBytes: 2 ** 26 })],
  ["64-bit addresses", highHeap(2 ** 26)],
])("keys, %s", (_, heap) => {
  const kernel = splitKernel(heap);
  const capacity = 512;
  const keys = heap.alloc(8 * capacity);
  const owners = heap.alloc(4 * capacity);
  const order = heap.alloc(4 * capacity);
  const starts = heap.alloc(4 * 4096);
  const out = heap.alloc(8 * capacity);

  test("are sorted by partition, stably, each into that of the definition", () => {
    fc.assert(
      fc.property(fc.array(key, { maxLength: capacity }), fc.integer({ min: 1, max: 300 }), (list, partitions) => {
        const n = list.length;
        heap.u64(keys, n).set(list);
        kernel.split(keys, n, partitions, owners, starts, order);
        const bounds = heap.u32(starts, partitions + 1);
        expect([bounds[0], bounds[partitions]]).toEqual([0, n]);
        for (let p = 0; p < partitions; p++) {
          const own = [...heap.u32(order, n).subarray(bounds[p], bounds[p + 1])];
          expect(own).toEqual(list.flatMap((key, i) => (partitionOf(key, partitions) === p ? [i] : [])));
          const kept = kernel.keep(keys, n, partitions, p, owners);
          expect([...heap.u32(owners, kept)]).toEqual(own);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("move by an order and back, with rows of any size", () => {
    const [rows, moved, back] = [heap.alloc(40 * capacity), heap.alloc(40 * capacity), heap.alloc(40 * capacity)];
    fc.assert(
      fc.property(fc.array(key, { maxLength: 100 }), fc.integer({ min: 1, max: 20 }), (list, halves) => {
        const n = list.length;
        const bytes = 2 * halves;
        heap.u64(keys, n).set(list);
        heap.u8(rows, n * bytes).forEach((_, i, all) => {
          all[i] = i % 251;
        });
        kernel.split(keys, n, 7, owners, starts, order);
        const places = [...heap.u32(order, n)];
        kernel.takeKeys(keys, order, n, out);
        expect([...heap.u64(out, n)]).toEqual(places.map((i) => list[i]));
        kernel.takeRows(rows, order, n, bytes, moved);
        const expected = places.flatMap((i) => [...heap.u8(rows + i * bytes, bytes)]);
        expect([...heap.u8(moved, n * bytes)]).toEqual(expected);
        kernel.putRows(moved, order, n, bytes, back);
        expect([...heap.u8(back, n * bytes)]).toEqual([...heap.u8(rows, n * bytes)]);
      }),
      { numRuns: 60 },
    );
  });

  test("are numbered once each over several lists, so that values add up by key", () => {
    const sum = instantiate<SumKernel>("row-gradients", heap);
    const [map, unique, numbers] = [heap.alloc(16 * 2048), heap.alloc(8 * capacity), heap.alloc(4 * capacity)];
    const [values, sums] = [heap.alloc(4 * capacity), heap.alloc(4 * capacity)];
    const lists = fc.array(fc.array(key, { maxLength: 80 }), { maxLength: 5 });
    fc.assert(
      fc.property(lists, (all) => {
        heap.u8(map, 16 * 1024).fill(0);
        const expected = new Map<bigint, number>();
        let count = 0;
        for (const [at, list] of all.entries()) {
          heap.u64(keys, list.length).set(list);
          heap.f32(values, list.length).forEach((_, i, view) => {
            view[i] = at + i;
          });
          count = kernel.numberKeys(keys, list.length, map, 1023, unique, count, numbers);
          sum.accumulate(numbers, list.length, values, 1, sums, 1);
          for (const [i, key] of list.entries()) if (key !== 0n) expected.set(key, (expected.get(key) ?? 0) + at + i);
        }
        expect([...heap.u64(unique, count)]).toEqual([...expected.keys()]);
        expect([...heap.f32(sums, count)]).toEqual([...expected.values()]);
      }),
      { numRuns: 60 },
    );
  });
});

test("keys spread evenly, also those that a table's own hash would put together", () => {
  const counts = new Array<number>(8).fill(0);
  for (let i = 1n; i <= 8000n; i++) counts[partitionOf(i, 8)]!++;
  for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(150);
});

test("pieces of dense parameters cover each once, are even, and small ones take turns", () => {
  const length = fc.integer({ min: 1, max: 20 * MIN_BLOCK });
  fc.assert(
    fc.property(fc.array(length, { maxLength: 6 }), fc.integer({ min: 1, max: 9 }), (lengths, partitions) => {
      const optimizers = [adagrad(), adagradShared(), lamb()];
      const dense = lengths.map((length, i) => ({
        name: `p${i}`,
        length,
        rule: i % 4 === 3 ? ("value" as const) : { optimizer: optimizers[i % 4]! },
      }));
      const pieces = placeDense({ dense, partitions });
      for (const [i, { length }] of dense.entries()) {
        const own = pieces.filter((piece) => piece.dense === i);
        expect(new Set(own.map(({ partition }) => partition)).size).toBe(own.length);
        let end = 0;
        for (const piece of own) {
          expect(piece.start).toBe(end);
          end += piece.length;
        }
        expect(end).toBe(length);
        if (i % 4 === 1 || i % 4 === 2) expect(own).toHaveLength(1);
        else if (own.length > 1) {
          for (const piece of own.slice(0, -1)) expect(piece.length).toBeGreaterThanOrEqual(MIN_BLOCK);
          expect(own[0]!.length - own.at(-1)!.length).toBeLessThan(16 * own.length);
        }
      }
      for (const { partition } of pieces) expect(partition).toBeLessThan(partitions);
      const small = Array.from({ length: partitions }, (_, i) => ({
        name: `${i}`,
        length: 10,
        rule: "value" as const,
      }));
      expect(placeDense({ dense: small, partitions }).map(({ partition }) => partition)).toEqual([...small.keys()]);
    }),
    { numRuns: 50 },
  );
});
