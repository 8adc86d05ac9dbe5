// Kernels of reductions and conversions against plain numbers, on every length around a vector and on numbers of all kinds.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type FloatType, readFloats, roundTo, writeFloats } from "../kernels/half.ts";
import { Heap } from "../memory/index.ts";
import { reduction, wireOf } from "./reduction.ts";

const heap = Heap.create({ maxBytes: 2 ** 24 });
const kernels = reduction(heap);
const [a, b, c] = [heap.alloc(4096), heap.alloc(4096), heap.alloc(4096)];

/** Every bit pattern of f32 is as likely, besides the numbers at which halves begin, end and round. */
const anyFloat = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 32 - 1 }).map((bits) => new Float32Array(Uint32Array.of(bits).buffer)[0]!),
  fc.constantFrom(0, -0, 65504, 65519.996, 65520, -65520, 2 ** -24, 2 ** -25, 3 * 2 ** -26, 2 ** -14, 1e-45, 3.4e38),
  fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1 + 2 ** -8, 1 + 3 * 2 ** -8),
);

describe.each(["f32", "bf16", "f16"] as const)("%s on the wire", (type: FloatType) => {
  test("encodes to the nearest, ties to even; decodes exactly; reduces in f32", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyFloat, anyFloat), { maxLength: 40 }), (pairs) => {
        const count = pairs.length;
        const here = Float32Array.from(pairs, ([x]) => x);
        const there = Float32Array.from(pairs, ([, y]) => roundTo(type, y));
        for (const op of ["sum", "max"] as const) {
          const wire = wireOf(kernels, type, op);
          heap.f32(a, count).set(here);
          writeFloats(type, heap.memory.buffer, b, there);
          wire.reduce(a, b, count);
          const expected = Array.from(here, (x, i) =>
            op === "sum" ? Math.fround(x + there[i]!) : Math.max(x, there[i]!),
          );
          expect([...heap.f32(a, count)]).toEqual(expected);
          if (wire.half === undefined) continue;
          heap.f32(a, count).set(here);
          heap.u8(c, 4096).fill(0xee);
          wire.half.encode(c, a, count);
          expect(heap.u8(c + 2 * count, 1)[0]).toBe(0xee);
          const rounded = Array.from(here, (x) => roundTo(type, x));
          expect([...readFloats(type, heap.memory.buffer, c, count)]).toEqual(rounded);
          wire.half.decode(a, c, count);
          expect([...heap.f32(a, count)]).toEqual(rounded);
        }
      }),
      { numRuns: 300 },
    );
  });
});

test("all buffers at once: in order, scaled, and nothing beyond the range", () => {
  const table = heap.alloc(64);
  heap.addresses(table, 3).set([a, b, c]);
  for (let count = 0; count < 70; count++) {
    for (const address of [a, b, c])
      heap.f32(address, 100).set(Array.from({ length: 100 }, (_, i) => i + address / 4096));
    const before = [...heap.f32(a, 100)];
    const sums = before.map((x, i) => Math.fround(Math.fround(x + heap.f32(b, 100)[i]!) + heap.f32(c, 100)[i]!) * 0.5);
    kernels.sumAllF32(table, 3, 7, count, 0.5);
    for (const address of [a, b, c]) expect([...heap.f32(address + 28, count)]).toEqual(sums.slice(7, 7 + count));
    expect([...heap.f32(a, 7)]).toEqual(before.slice(0, 7));
    expect(heap.f32(a, 100)[7 + count]).toBe(before[7 + count]);
  }
});
