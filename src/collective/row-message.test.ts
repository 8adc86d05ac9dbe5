// Rows of gradients as messages: sums over ranks as of whole matrices, in each precision, and what is no message.
import fc from "fast-check";
import { expect, test } from "vitest";
import { roundTo } from "../kernels/half.ts";
import { Heap } from "../memory/index.ts";
import { RowCodec, rowMessageBytes } from "./row-message.ts";

const heap = Heap.create({ maxBytes: 2 ** 26 });

const matrices = fc.record({
  rows: fc.integer({ min: 1, max: 40 }),
  width: fc.integer({ min: 1, max: 9 }),
  /** Ids of each rank, some of no row. */
  ids: fc.array(fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 30 }), {
    minLength: 1,
    maxLength: 4,
  }),
  seed: fc.integer({ min: 1, max: 1000 }),
  turns: fc.integer({ min: 1, max: 3 }),
});

test.each(["f32", "bf16", "f16"] as const)("sums over ranks in %s are those of whole matrices", (wire) => {
  fc.assert(
    fc.property(matrices, ({ rows, width, ids, seed, turns }) => {
      const most = Math.max(...ids.map(({ length }) => length));
      const shape = { rows, width, most };
      const bytes = rowMessageBytes(shape, wire);
      const blocks: number[] = [];
      const block = (size: number): number => {
        const address = heap.alloc(size);
        heap.u8(address, size).fill(0);
        blocks.push(address);
        return address;
      };
      const messages = block(bytes * ids.length);
      const ranks = ids.map((own, rank) => {
        const matrix = block(4 * rows * width);
        const column = block(4 * own.length);
        heap.u32(column, own.length).set(own);
        return { own, rank, matrix, column, codec: new RowCodec(heap, shape, wire, block(RowCodec.bytes(shape))) };
      });
      for (let turn = 0; turn < turns; turn++) {
        const expected = new Float64Array(rows * width);
        for (const { own, rank, matrix, column, codec } of ranks) {
          const numbers = heap.f32(matrix, rows * width).fill(0);
          for (const id of own) {
            for (let j = 0; id < rows && j < width; j++)
              numbers[id * width + j] = Math.fround(Math.sin(seed + rank + 7 * turn + id * width + j));
          }
          for (const [i, x] of numbers.entries()) expected[i] = Math.fround(expected[i]! + roundTo(wire, x));
          codec.take(matrix, column, own.length, messages + rank * bytes);
        }
        for (const { rank, matrix, codec } of ranks) {
          codec.clear(matrix, messages + rank * bytes);
          for (const from of ranks.keys()) expect(codec.add(matrix, messages + from * bytes)).toBe(true);
          expect([...heap.f32(matrix, rows * width)]).toEqual([...expected]);
        }
      }
      for (const address of blocks) heap.free(address);
    }),
    { numRuns: 60 },
  );
});

test("what is no message for the matrix is told, and nothing outside of it is written", () => {
  const shape = { rows: 3, width: 4, most: 2 };
  const message = heap.alloc(rowMessageBytes(shape, "f32"));
  const codec = new RowCodec(heap, shape, "f32", heap.alloc(RowCodec.bytes(shape)));
  const around = heap.f32(heap.alloc(4 * 3 * 12), 36).fill(7);
  const matrix = around.byteOffset + 4 * 12;
  const words = heap.u32(message, 8);
  const bad = [
    [3, 0, 0, 0],
    [2 ** 32 - 1, 0, 0, 0],
    [1, 3, 0],
    [2, 0, 2 ** 31],
  ];
  for (const [count, ...list] of bad) {
    words.fill(0);
    words[0] = count!;
    words.set(list, 4);
    expect(codec.add(matrix, message)).toBe(false);
  }
  expect([...around.subarray(0, 12), ...around.subarray(24)].every((x) => x === 7)).toBe(true);
});
