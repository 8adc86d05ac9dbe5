// Buckets begin small, so that the wire has work soon, and end small, so that little is left when the backward pass is over.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BucketOptions, planBuckets } from "./buckets.ts";

const MIB = 2 ** 20;
/** Gradients of so many bytes. */
const gradientsOf = (sizes: readonly number[]) =>
  sizes.map((bytes, i) => ({ parameter: `p${i}`, shape: [bytes / 4] as const }));
const bytesOf = (sizes: readonly number[], options?: BucketOptions): number[] =>
  planBuckets(gradientsOf(sizes), options).map(({ length }) => 4 * length);
const equal = (count: number): number[] => new Array(count).fill(MIB);

describe("buckets", () => {
  test("grow to what came before them, and shrink to what comes behind them", () => {
    const sizes = bytesOf(equal(128)).map((bytes) => bytes / MIB);
    expect(sizes).toEqual([1, 1, 2, 4, 8, 16, 32, 32, 16, 8, 4, 2, 1, 1]);
  });

  test("of a share of all are full with it, but not with less than 1 MB", () => {
    expect(bytesOf(equal(64), { share: 1 / 16 }).map((bytes) => bytes / MIB)).toEqual([
      ...[1, 1, 2],
      ...new Array(14).fill(4),
      ...[2, 1, 1],
    ]);
    expect(bytesOf(equal(4), { share: 1 / 16 })).toEqual(equal(4));
  });

  test("are no longer than asked for, but where one gradient is", () => {
    expect(bytesOf([64, 64, 64, 1024, 64], { fuseBytes: 128, lastBucketBytes: 64 })).toEqual([128, 64, 1024, 64]);
    expect(bytesOf([64, 64, 64], { fuseBytes: 4, lastBucketBytes: 0 })).toEqual([64, 64, 64]);
  });

  test("of short gradients are one, and the last ones", () => {
    expect(bytesOf([256, 512, 256], { lastBucketBytes: 0 })).toEqual([768, 256]);
    expect(bytesOf([256, 512, 256])).toEqual([1024]);
    expect(bytesOf([])).toEqual([]);
  });

  test("hold every gradient once, in order", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 300_000 }), { maxLength: 60 });
    const options = fc.record({ fuseBytes: fc.integer({ min: 4, max: 2 ** 22 }), lastBucketBytes: fc.nat(2 ** 20) });
    fc.assert(
      fc.property(sizes, options, (elements, limits) => {
        const gradients = gradientsOf(elements.map((count) => 4 * count));
        const buckets = planBuckets(gradients, limits);
        const parts = buckets.flatMap((bucket) => bucket.parts.map(({ parameter }) => parameter));
        expect(parts).toEqual(gradients.map(({ parameter }) => parameter));
        for (const { parts, length } of buckets) {
          expect(4 * length <= limits.fuseBytes || parts.length === 1).toBe(true);
          for (const [i, { offset }] of parts.entries()) {
            const next = parts[i + 1]?.offset ?? length;
            expect(next - offset).toBeGreaterThanOrEqual(elements[Number(parts[i]!.parameter.slice(1))]!);
          }
        }
      }),
    );
  });
});
