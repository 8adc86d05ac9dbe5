// Conversions between f32 and half precision by WASM, against JavaScript's own.
import { describe, expect, test } from "vitest";
import { readFloats, roundTo, writeFloats } from "../../../kernels/half.ts";
import { Heap } from "../../../memory/index.ts";
import { converter } from "./half.ts";

const heap = Heap.create({ maxBytes: 2 ** 24 });
const { read, write, readRows, writeRows } = converter(heap);
const { buffer } = heap.memory;
const types = ["bf16", "f16"] as const;

/** The ends of what is normal, subnormal, finite; ties; infinities and NaN; and a spread of others, odd in number. */
const numbers = [
  ...[0, -0, 1, -1, 65504, 65519, 65520, -65536, 3e38, 3.4e38, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  ...[Number.NaN, 2 ** -14, 2 ** -15, 2 ** -24, 2 ** -25, 1.5 * 2 ** -25, 2 ** -126, 2 ** -149],
  ...[1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 2 ** -14 - 2 ** -25],
  ...Array.from({ length: 1002 }, (_, i) => (i % 2 ? -1 : 1) * 1.37 ** ((i % 200) - 100) * (1 + i / 1002)),
];

describe.each(types)("%s", (type) => {
  test("all of its numbers become f32", () => {
    const [from, to] = [heap.alloc(2 ** 17), heap.alloc(2 ** 18)];
    const bits = new Uint16Array(buffer, from, 2 ** 16);
    for (let i = 0; i < bits.length; i++) bits[i] = i;
    read(type, from, to, bits.length)();
    expect(heap.f32(to, bits.length)).toEqual(readFloats(type, buffer, from, bits.length));
  });

  test("f32 becomes the nearest, ties to even", () => {
    const [from, to] = [heap.alloc(4 * numbers.length), heap.alloc(2 * numbers.length)];
    writeFloats("f32", buffer, from, numbers);
    write(type, from, to, numbers.length)();
    expect([...readFloats(type, buffer, to, numbers.length)]).toEqual(numbers.map((x) => roundTo(type, x)));
  });

  test("rows that lie apart, and nothing between them", () => {
    const [rows, n, stride] = [5, 7, 12];
    const [there, dense] = [heap.alloc(2 * rows * stride), heap.alloc(4 * rows * n)];
    const all = Array.from({ length: rows * stride }, (_, i) => i - 30);
    writeFloats(type, buffer, there, all);
    readRows(type, there, 2 * stride, dense, rows, n)();
    const wanted = Array.from({ length: rows * n }, (_, i) => all[Math.floor(i / n) * stride + (i % n)]!);
    expect([...heap.f32(dense, rows * n)]).toEqual(wanted);
    heap.f32(dense, rows * n).set(wanted.map((x) => 2 * x));
    writeRows(type, dense, there, 2 * stride, rows, n)();
    expect([...readFloats(type, buffer, there, all.length)]).toEqual(all.map((x, i) => (i % stride < n ? 2 * x : x)));
  });
});
