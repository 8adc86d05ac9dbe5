// Removing rows: a table with removals behaves as a map, whatever the order of inserts and removals.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import { highHeap } from "../memory/testing.ts";
import { Table, type TableSpec } from "./index.ts";

const spec: TableSpec = {
  name: "removal",
  seed: 3,
  fields: [{ name: "w", dim: 5, slots: [{ name: "s", initial: 2 }], init: { kind: "uniform", scale: 1 } }],
};

class Harness {
  readonly heap: Heap;
  readonly table: Table;
  readonly #keys: number;
  readonly #rows: number;

  constructor(heap: Heap) {
    this.heap = heap;
    this.table = Table.create(heap, spec);
    this.#keys = heap.alloc(8 * 4096);
    this.#rows = heap.alloc(4 * 4096);
  }

  lookup(keys: readonly bigint[], insert: boolean): Uint32Array {
    this.heap.u64(this.#keys, keys.length).set(keys);
    this.table.lookup(this.#keys, keys.length, this.#rows, insert);
    return this.heap.u32(this.#rows, keys.length).slice();
  }

  remove(keys: ReadonlySet<bigint>): void {
    for (const slab of this.table.slabs()) {
      const found: number[] = [];
      for (const [place, key] of this.heap.u64(slab.keys, slab.places).entries()) {
        if (keys.has(key)) found.push(place);
      }
      this.heap.u32(this.#rows, found.length).set(found);
      this.table.remove(slab, this.#rows, found.length);
    }
  }

  weights(row: number): number[] {
    return [...this.heap.f32(row * 16, 5)];
  }

  keys(): bigint[] {
    return [...this.table.snapshot().chunks()].flatMap(({ keys }) => [...keys]);
  }
}

describe.each([
  ["32-bit addresses", (): Heap => Heap.create({ maxBytes: 2 ** 27 })],
  ["64-bit addresses", (): Heap => highHeap(2 ** 27)],
])("%s", (_, newHeap) => {
  test("rows go, others stay where they are, and new ones begin anew", () => {
    const key = fc.bigInt({ min: 1n, max: 400n }).map((x) => (x % 3n === 0n ? 2n ** 64n - x : x * 0x1234567n));
    const step = fc.record({ insert: fc.array(key, { maxLength: 300 }), remove: fc.array(key, { maxLength: 200 }) });
    const heap = newHeap();
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
        const harness = new Harness(heap);
        const { table } = harness;
        const expected = new Map<bigint, number>();
        const first = new Map<bigint, number[]>();
        for (const { insert, remove } of steps) {
          for (const [i, row] of harness.lookup(insert, true).entries()) {
            const key = insert[i]!;
            if (expected.has(key)) expect(row).toBe(expected.get(key));
            expected.set(key, row);
            // A row that was made again has the weights of the first time.
            const weights = harness.weights(row);
            expect(weights).toEqual(first.get(key) ?? weights);
            first.set(key, weights);
          }
          harness.remove(new Set(remove));
          for (const key of remove) expected.delete(key);
          const known = [...first.keys()];
          const found = [...harness.lookup(known, false)];
          expect(found).toEqual(known.map((key) => expected.get(key) ?? table.zeroRow));
          expect(table.size()).toBe(expected.size);
        }
        expect(harness.keys()).toEqual([...expected.keys()].sort((a, b) => (a < b ? -1 : 1)));
        table.dispose();
      }),
      { numRuns: 60 },
    );
  });

  test("removed rows are used again, so a table whose keys change does not grow", () => {
    const harness = new Harness(newHeap());
    const batch = (round: number): bigint[] => Array.from({ length: 2000 }, (_, i) => BigInt(1 + i + 2000 * round));
    let bytes = 0;
    for (let round = 0; round < 40; round++) {
      harness.lookup(batch(round), true);
      harness.remove(new Set(batch(round)));
      if (round === 1) bytes = harness.heap.liveBytes;
    }
    expect(harness.table.size()).toBe(0);
    expect(harness.heap.liveBytes).toBe(bytes);
  });

  test("initial rows are those that an insert would make, and leave the table as it is", () => {
    const harness = new Harness(newHeap());
    const { heap, table } = harness;
    const keys = heap.alloc(8 * 4);
    const rows = heap.alloc(4 * 4);
    const scratch = heap.alloc(4 * table.layout.strideBytes);
    harness.lookup([7n], true);
    heap.u64(keys, 4).set([5n, 7n, 0n, 6n]);
    table.lookup(keys, 4, rows, false);
    expect(table.initial(keys, 4, rows, scratch)).toBe(2);
    const found = [...heap.u32(rows, 4)];
    expect(found[2]).toBe(table.zeroRow);
    expect(table.size()).toBe(1);
    const weights = found.map((row) => harness.weights(row));
    const made = [...harness.lookup([5n, 7n, 0n, 6n], true)].map((row) => harness.weights(row));
    expect(weights).toEqual(made);
  });
});
