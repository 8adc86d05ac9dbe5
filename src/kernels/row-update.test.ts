import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bindKernels, compileKernels } from "./compile.ts";
import { evaluateRule } from "./evaluate.ts";
import * as e from "./expr.ts";
import type { RowUpdateKernel } from "./spec.ts";
import { numbers, type TestMemory, testMemories } from "./testing.ts";
import type { UpdateRule } from "./update-rule.ts";

const [w, g] = [e.input(0), e.input(1)];

const rules: Readonly<Record<string, UpdateRule>> = {
  sgd: { slots: [], scalars: ["lr"], weight: e.sub(w, e.mul(e.input(2), g)), state: [] },
  adagrad: ((): UpdateRule => {
    const sum = e.add(e.input(2), e.mul(g, g));
    return {
      slots: [{ name: "sum", initial: 0.1 }],
      scalars: ["lr"],
      weight: e.sub(w, e.div(e.mul(e.input(3), g), e.add(e.sqrt(sum), 1e-8))),
      state: [sum],
    };
  })(),
  adagradShared: {
    slots: [{ name: "sum", initial: 1, perRow: true }],
    scalars: ["lr"],
    weight: e.sub(w, e.mul(e.mul(e.input(3), g), e.sqrt(e.div(3, e.add(3, e.input(2)))))),
    state: [e.add(e.input(2), e.rowMean(e.mul(g, g)))],
  },
  centred: {
    slots: [
      { name: "spread", initial: 0 },
      { name: "steps", initial: 0, perRow: true },
    ],
    scalars: ["lr", "decay"],
    weight: e.sub(w, e.mul(e.input(4), e.sub(e.exp(g), e.rowMean(e.exp(e.sub(g, e.rowMean(g))))))),
    state: [e.add(e.mul(e.input(2), e.input(5)), e.abs(e.sub(g, e.rowMean(w)))), e.add(e.input(3), 1)],
  },
};

const HEADER_BYTES = 16;

/** Runs a rule over some rows of a table with a header in each row, and compares every word of it with the reference. */
function check(space: TestMemory, rule: UpdateRule, dim: number, count: number, gap: number, seed: number): void {
  const { memory, addressType, start: tableAt } = space;
  const floats = new Float32Array(memory.buffer, tableAt);
  const words = new Uint32Array(memory.buffer, tableAt);
  const lengths = [dim, ...rule.slots.map(({ perRow }) => (perRow ? 1 : dim))];
  const offsets = lengths.map(
    (_, i) => HEADER_BYTES / 4 + lengths.slice(0, i).reduce((sum, length) => sum + length + 1, 0),
  );
  const stride = 4 * Math.ceil((offsets.at(-1)! + lengths.at(-1)! + 1) / 4);
  const tableRows = 2 * count + 1;
  const table = floats.subarray(0, stride * tableRows);
  const gradientsAt = table.length;
  const gradients = floats.subarray(gradientsAt, gradientsAt + count * (dim + gap));
  const handlesAt = gradientsAt + gradients.length;
  const scalarsAt = handlesAt + count;
  table.set(numbers(table.length, seed, 0.5, 2));
  gradients.set(numbers(gradients.length, seed + 1, -1, 1));
  const scalars = numbers(rule.scalars.length, seed + 2, 0.01, 0.9);
  floats.set(scalars, scalarsAt);

  const want = Array.from(table);
  for (let u = 0; u < count; u++) {
    // Every third handle is blank; the others go down the table in steps of two.
    const start = stride * (tableRows - 1 - 2 * u);
    words[handlesAt + u] = u % 3 === 2 ? 0 : (tableAt / 4 + start) / 4;
    if (u % 3 === 2) continue;
    const [weight, ...slots] = lengths.map((length, i) =>
      want.slice(start + offsets[i]!, start + offsets[i]! + length),
    );
    const gradient = [...gradients.subarray(u * (dim + gap), u * (dim + gap) + dim)];
    const after = evaluateRule(rule, { weight: weight!, slots }, gradient, [...scalars]);
    for (const [i, values] of [after.weight, ...after.slots].entries()) {
      for (const [element, value] of values.entries()) want[start + offsets[i]! + element] = value;
    }
  }
  const kernel: RowUpdateKernel = {
    type: "rowUpdate",
    rule,
    dim,
    weightOffset: 4 * offsets[0]!,
    slotOffsets: offsets.slice(1).map((offset) => 4 * offset),
    gradientStride: dim + gap,
  };
  const [run] = bindKernels(compileKernels([kernel], addressType), memory);
  const pointer = (at: number): number => tableAt + 4 * at;
  run!(pointer(handlesAt), pointer(gradientsAt), count, ...rule.scalars.map((_, i) => pointer(scalarsAt + i)));
  for (const [i, value] of want.entries()) {
    if (!(Math.abs(table[i]! - value) <= 4e-6 * (1 + Math.abs(value)))) {
      throw new Error(`word ${i % stride} of row ${Math.floor(i / stride)} is ${table[i]}, not ${value}`);
    }
  }
}

describe("row updates", () => {
  it.each(Object.keys(rules))("move rows and slots as the %s rule says, and nothing else", (name) => {
    const dims = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(32, 63, 64, 65, 100, 131));
    fc.assert(
      fc.property(dims, fc.nat(9), fc.nat(3), fc.integer(), (dim, count, gap, seed) => {
        for (const space of testMemories) check(space, rules[name]!, dim, count, gap, seed);
      }),
      { numRuns: 60 },
    );
  });

  it("refuse a slot of one value a row whose update differs between elements", () => {
    const rule: UpdateRule = {
      slots: [{ name: "sum", initial: 0, perRow: true }],
      scalars: [],
      weight: w,
      state: [e.add(e.input(2), e.mul(g, g))],
    };
    const kernel: RowUpdateKernel = { type: "rowUpdate", rule, dim: 4, weightOffset: 0, slotOffsets: [16] };
    expect(() => compileKernels([kernel])).toThrow('slot "sum" has one value a row, but its update differs');
  });
});
