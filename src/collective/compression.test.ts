// Compression beside plain loops: which numbers are the largest, what a message carries, what is left behind.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type FloatType, roundTo } from "../kernels/half.ts";
import { Heap } from "../memory/index.ts";
import { randomFrom } from "../program/testing.ts";
import { capacityOf, compressionKernels, entryBytes, keptOf, SparseCodec } from "./compression.ts";

const heap = Heap.create({ maxBytes: 2 ** 26 });
const kernels = compressionKernels(heap);
const MOST = 200_000;
const [x, list, counts] = [heap.alloc(4 * MOST), heap.alloc(4 * MOST), heap.alloc(4 * 2048)];

function largest(numbers: ArrayLike<number>, k: number, room = numbers.length): number[] {
  heap.f32(x, numbers.length).set(numbers);
  kernels.largest(x, numbers.length, k, list, room, counts);
  return [...heap.u32(list, k)];
}

/** By sorting; of equal magnitudes the first. */
function plainLargest(numbers: ArrayLike<number>, k: number): number[] {
  const indices = Array.from(numbers, (_, i) => i);
  const size = (i: number): number => Math.abs(Math.fround(numbers[i]!));
  return indices
    .sort((a, b) => size(b) - size(a) || a - b)
    .slice(0, k)
    .sort((a, b) => a - b);
}

describe("the largest magnitudes", () => {
  test("of any numbers, many of them equal", () => {
    const number = fc.oneof(fc.float({ noNaN: true }), fc.constantFrom(0, -0, 1, -1, 2 ** -130));
    fc.assert(
      fc.property(fc.array(number, { minLength: 1, maxLength: 90 }), fc.nat(), (numbers, choice) => {
        const k = 1 + (choice % numbers.length);
        expect(largest(numbers, k)).toEqual(plainLargest(numbers, k));
      }),
    );
  });

  const random = randomFrom(3);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const cases: readonly [string, (i: number) => number][] = [
    ["that are spread evenly", normal],
    ["that lie together, where no sample sees them", (i) => (i > 100_000 && i < 100_300 ? 50 + random() : random())],
    ["that are all the same", () => 1],
    ["of which most are 0", (i) => (i % 997 === 5 ? normal() : 0)],
  ];
  test.each(cases)("of many numbers %s", (_, of) => {
    const numbers = Float32Array.from({ length: MOST - 3 }, (_, i) => of(i));
    for (const k of [1, 200, 50_000]) {
      const room = Math.min(MOST, 4 * k + 1024);
      expect(largest(numbers, k, room)).toEqual(plainLargest(numbers, k));
    }
  });

  test("NaN is larger than all, so that it reaches everyone", () => {
    expect(largest([1, Number.NaN, Number.POSITIVE_INFINITY, 3], 2)).toEqual([1, 2]);
  });
});

test("momentum and what waits to be sent", () => {
  const random = randomFrom(4);
  for (const count of [1, 4, 7, 33]) {
    for (const nesterov of [0, 1]) {
      const tensors = [0, 1, 2, 3].map(() => Float32Array.from({ length: count }, () => random() - 0.5));
      const places = tensors.map((tensor, i) => {
        heap.f32(x + 4096 * i, count + 1).set([...tensor, 7]);
        return x + 4096 * i;
      }) as [number, number, number, number];
      kernels.accumulate(...places, count, 0.5, 0.9, 0.1, nesterov);
      for (const [i, g] of tensors[0]!.entries()) {
        const [w, u, v] = [tensors[1]![i]!, tensors[2]![i]!, tensors[3]![i]!];
        const d = 0.5 * g + 0.1 * w;
        const next = nesterov === 1 ? 0.9 * (u + d) : 0.9 * u + d;
        expect(heap.f32(places[2], count)[i]).toBeCloseTo(next, 6);
        expect(heap.f32(places[3], count)[i]).toBeCloseTo(v + next + (nesterov === 1 ? d : 0), 6);
      }
      for (const place of places) expect(heap.f32(place, count + 1)[count]).toBe(7);
      const squares = tensors[0]!.reduce((sum, g) => sum + g * g, 0);
      expect(kernels.sumOfSquares(places[0], count)).toBeCloseTo(squares, 12);
    }
  }
});

describe.each(["f32", "bf16", "f16"] as const)("a message of %s", (wire: FloatType) => {
  // The last number is farther from the one before it than a step goes.
  const count = 180_001;
  const sparsity = 0.9999;
  const kept = keptOf(count, sparsity);
  const [u, v, message, dense] = [0, 0, 0, 0].map(() => heap.alloc(4 * count)) as [number, number, number, number];
  const codec = new SparseCodec(heap, wire, heap.alloc(SparseCodec.bytes(count, kept)), { count, kept });
  const numbers = Float32Array.from(
    { length: count },
    (_, i) => Math.sin(i) * (i < 20_000 || i === count - 1 ? 1 : 0.01),
  );
  numbers[count - 1] = -3.5;

  test("brings the largest, leaves the rest, and forgets the momentum of what was sent", () => {
    heap.f32(v, count).set(numbers);
    heap.f32(u, count).fill(1);
    codec.take(v, u, count, kept, message);
    const sent = new Map(plainLargest(numbers, kept).map((i) => [i, roundTo(wire, numbers[i]!)]));
    heap.f32(dense, count).fill(1);
    expect(codec.add(dense, count, kept, message, 0.5)).toBe(true);
    expect([...heap.f32(dense, count)]).toEqual(
      Array.from(numbers, (_, i) => Math.fround(1 + Math.fround((sent.get(i) ?? 0) * 0.5))),
    );
    expect([...heap.f32(u, count)]).toEqual(Array.from(numbers, (_, i) => (sent.has(i) ? 0 : 1)));
    expect([...heap.f32(v, count)]).toEqual(Array.from(numbers, (n, i) => Math.fround(n - (sent.get(i) ?? 0))));
    expect(entryBytes(capacityOf(count, kept), wire)).toBeLessThanOrEqual(6 * (kept + 6));
  });

  test("that leads out of the tensor is refused", () => {
    const capacity = capacityOf(count, kept);
    new Uint16Array(heap.memory.buffer, message + entryBytes(capacity, wire) - 2 * capacity, capacity).fill(65534);
    expect(codec.add(dense, count, kept, message, 1)).toBe(false);
  });
});

test("how many are kept", () => {
  expect([keptOf(100_000, 0.999), keptOf(10, 0.999), keptOf(10, 0)]).toEqual([100, 1, 10]);
});
