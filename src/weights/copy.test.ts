// Copies between orders of axes against the definition of a transposition, whole and block by block.
import fc from "fast-check";
import { expect, test } from "vitest";
import { blocksOf } from "./blocks.ts";
import { copyStrided, stridesOf } from "./copy.ts";

const sizes = fc.array(fc.oneof(fc.integer({ min: 0, max: 6 }), fc.constant(70)), { maxLength: 4 });
const cases = sizes.chain((view) =>
  fc.record({
    view: fc.constant(view),
    perm: fc.shuffledSubarray([...view.keys()], { minLength: view.length, maxLength: view.length }),
  }),
);

test("any permutation of the axes goes there and back", () => {
  const property = fc.property(cases, ({ view, perm }) => {
    const count = view.reduce((a, b) => a * b, 1);
    fc.pre(count < 30_000);
    const source = Float32Array.from({ length: count }, (_, i) => i + 1);
    const [theirs, ours] = [new Float32Array(count), new Float32Array(count)];
    for (const { shape, first, elements, offset, strides } of blocksOf({ shape: view, view, perm })) {
      const block = source.slice(first, first + elements);
      copyStrided(shape, { data: block, offset: 0, strides: stridesOf(shape) }, { data: ours, offset, strides });
    }
    const steps = stridesOf(view);
    const sorted = perm.map((axis) => ({ size: view[axis]!, step: steps[axis]! }));
    const expected = Array.from({ length: count }, (_, i) => {
      let [rest, at] = [i, 0];
      for (const { size, step } of sorted.toReversed()) {
        at += (rest % size) * step;
        rest = Math.floor(rest / size);
      }
      return at + 1;
    });
    expect([...ours]).toEqual(expected);
    for (const { shape, first, offset, strides } of blocksOf({ shape: view, view, perm })) {
      const place = { data: theirs, offset: first, strides: stridesOf(shape) };
      copyStrided(shape, { data: ours, offset, strides }, place);
    }
    expect(theirs).toEqual(source);
  });
  fc.assert(property, { numRuns: 100 });
});

test("a large tensor comes in several blocks that cover it once", () => {
  const view = [3000, 4000];
  const blocks = [...blocksOf({ shape: view, view, perm: [1, 0] })];
  expect(blocks.length).toBeGreaterThan(1);
  let next = 0;
  for (const { first, elements, offset, strides } of blocks) {
    expect(first).toBe(next);
    expect(offset).toBe(first / 4000);
    expect(strides).toEqual([1, 3000]);
    next += elements;
  }
  expect(next).toBe(12_000_000);
});
