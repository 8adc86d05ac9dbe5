// The contract suite for pooling, norms and products of batches, strides and half-precision types.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Heap } from "../../memory/index.ts";
import { highHeap } from "../../memory/testing.ts";
import { windowedLength } from "../geometry.ts";
import type { FloatType } from "../plan.ts";
import type { MatmulShape, NormShape, PoolShape } from "../provider.ts";
import { checkBatch } from "./contract-batch.ts";
import { checkNorm } from "./contract-norm.ts";
import { checkPool } from "./contract-pool.ts";
import { type Contender, contender, multipliers, others, whyAbsent } from "./testing.ts";

const between = (least: number, most: number): fc.Arbitrary<number> => fc.integer({ min: least, max: most });
const floatType = fc.constantFrom<FloatType>("f32", "f32", "bf16", "f16");

const pools = fc
  .record({
    direction: fc.constantFrom("forward", "input"),
    mode: fc.constantFrom("max", "average"),
    ...{ batch: between(1, 2), height: between(1, 8), width: between(1, 8), channels: between(1, 37) },
    ...{
      kernelHeight: between(1, 3),
      kernelWidth: between(1, 3),
      strideHeight: between(1, 3),
      strideWidth: between(1, 3),
    },
    ...{ padTop: between(0, 1), padLeft: between(0, 1), countPadding: fc.boolean(), type: floatType },
  })
  .map((s): PoolShape | undefined => {
    const window = {
      stride: [s.strideHeight, s.strideWidth] as const,
      padding: [s.padTop, 0, s.padLeft, 0] as const,
      dilation: [1, 1] as const,
    };
    if (s.padTop >= s.kernelHeight || s.padLeft >= s.kernelWidth) return undefined;
    const outHeight = windowedLength(s.height, s.kernelHeight, window, 0);
    const outWidth = windowedLength(s.width, s.kernelWidth, window, 1);
    return outHeight < 1 || outWidth < 1 ? undefined : { ...s, outHeight, outWidth };
  })
  .filter((shape) => shape !== undefined);

const window: PoolShape = {
  ...{ direction: "forward", mode: "max", batch: 1, height: 4, width: 4, channels: 3, outHeight: 2, outWidth: 2 },
  ...{ kernelHeight: 2, kernelWidth: 2, strideHeight: 2, strideWidth: 2, padTop: 0, padLeft: 0 },
  ...{ countPadding: false, type: "f32" },
};

const norms: fc.Arbitrary<NormShape> = fc.record({
  direction: fc.constantFrom("forward", "backward"),
  axis: fc.constantFrom("layer", "batch"),
  ...{ rows: between(2, 40), columns: between(2, 40), epsilon: fc.constant(1e-3), type: floatType },
});

/** Operands in any order of axes, with gaps between their rows. */
const batches: fc.Arbitrary<MatmulShape> = fc
  .record({
    ...{ batch: fc.array(between(1, 3), { maxLength: 2 }), m: between(1, 20), n: between(1, 20), k: between(1, 20) },
    types: fc.record({ a: floatType, b: floatType, c: floatType }),
    orders: fc.array(fc.nat(1e6), { minLength: 3, maxLength: 3 }),
    gaps: fc.array(between(0, 2), { minLength: 3, maxLength: 3 }),
    epilogue: fc.constantFrom({}, { accumulate: true }, { bias: 1, activation: "relu" as const }),
  })
  .map(({ batch, m, n, k, types, orders, gaps, epilogue }) => {
    const strides = (i: number, ...matrix: number[]) => stridesIn([...batch, ...matrix], orders[i]!, gaps[i]!);
    const c = strides(2, m, n);
    return {
      ...{ m, n, k, batch, types, transposeA: false, transposeB: false },
      ...(c.at(-1) === 1 ? epilogue : {}),
      strides: { a: strides(0, m, k), b: strides(1, k, n), c },
    };
  });

/** Strides where one of the last two axes is contiguous and the others lie around it in an order told by a number. */
function stridesIn(shape: readonly number[], order: number, gap: number): number[] {
  const strides = new Array<number>(shape.length).fill(0);
  let stride = 1;
  const left = shape.map((_, axis) => axis);
  const take = (axis: number): void => {
    strides[axis] = stride;
    stride = stride * shape[axis]! + (stride === 1 ? gap : 0);
    left.splice(left.indexOf(axis), 1);
  };
  take(shape.length - 1 - (order % 2));
  for (let rest = order; left.length > 0; rest = Math.floor(rest / left.length) || order)
    take(left[rest % left.length]!);
  return strides;
}

const layout = (transposeA: boolean, transposeB: boolean): Pick<MatmulShape, "transposeA" | "transposeB"> => ({
  ...{ transposeA, transposeB },
});

/** Heads of an attention: [B, T, H, D] read as [B, H, T, D], scores and values. */
const heads: readonly MatmulShape[] = (["f32", "bf16"] as const).flatMap((type) => {
  const [b, h, t, d] = [2, 3, 17, 24];
  const split = [t * h * d, d, h * d, 1];
  const scores = [h * t * t, t * t, t, 1];
  const common = { batch: [b, h], ...layout(false, false), types: { a: type, b: type, c: type } };
  return [
    { m: t, n: t, k: d, ...common, strides: { a: split, b: [t * h * d, d, 1, h * d], c: scores } },
    { m: t, n: d, k: t, ...common, strides: { a: scores, b: split, c: split } },
  ];
});

/** Of extents of 1 any stride is right. */
const singleRow: MatmulShape = {
  ...{ m: 1, n: 18, k: 5, batch: [], ...layout(false, false) },
  strides: { a: [1, 3], b: [18, 1], c: [1, 1] },
};

function suite(names: readonly Contender[], tests: (heap: Heap, name: Contender) => void): void {
  for (const name of names) {
    const absent = whyAbsent(name);
    describe.skipIf(absent)(`${name}${absent ? ` (skipped: ${absent})` : ""}`, () => {
      // Addresses with the highest of 32 bits set: a signed comparison would go wrong.
      const heap = Heap.create();
      heap.alloc(2 ** 31);
      tests(heap, name);
    });
  }
}

suite(others, (heap, name) => {
  const subject = contender(heap, name);

  test("pooling", () => {
    fc.assert(
      fc.property(pools, fc.nat(1e6), fc.boolean(), (shape, seed, places) => {
        checkPool(heap, subject, shape, seed, places || shape.direction === "input");
      }),
      { numRuns: 150 },
    );
  });

  test("norms of rows and of columns", () => {
    fc.assert(
      fc.property(norms, fc.nat(1e6), (shape, seed) => void checkNorm(heap, subject, shape, seed)),
      { numRuns: 100 },
    );
  });

  test("addresses above 4 GiB give the same bits", () => {
    const high = highHeap();
    const there = contender(high, name);
    const property = fc.property(pools, norms, (pool, norm) => {
      expect(checkPool(high, there, pool)).toEqual(checkPool(heap, subject, pool));
      expect(checkNorm(high, there, norm)).toEqual(checkNorm(heap, subject, norm));
    });
    fc.assert(property, { numRuns: 10 });
  });

  test("refuses what it cannot compute, with the reason", () => {
    const at = { x: 64, y: 128, gamma: 256, beta: 320, mean: 384, rstd: 448, scratch: 1024, scratchBytes: 2 ** 20 };
    const { pool, norm } = subject;
    expect(() => pool.scratchBytes({ ...window, kernelHeight: 17, kernelWidth: 16 })).toThrow(/272 places/);
    expect(() => pool.scratchBytes({ ...window, padLeft: 2 })).toThrow(
      /padLeft is 2, expected less than kernelWidth 2/,
    );
    expect(() => pool.bind({ ...window, direction: "input" }, at)).toThrow(/address places is undefined/);
    expect(() => pool.bind({ ...window, type: "bf16" }, { ...at, y: 65 })).toThrow(/address y is 65/);
    const shape: NormShape = { direction: "forward", axis: "layer", rows: 3, columns: 4, epsilon: 1e-5, type: "f32" };
    expect(() => norm.scratchBytes({ ...shape, columns: 0 })).toThrow(/columns is 0/);
    expect(() => norm.scratchBytes({ ...shape, epsilon: -1 })).toThrow(/epsilon is -1/);
    expect(() => norm.bind({ ...shape, direction: "backward" }, at)).toThrow(/address dx is undefined/);
  });

  test("says whether bf16 is real", () => {
    if (name === "wasm") expect(subject.nativeBf16).toBe(false);
    else expect(typeof subject.nativeBf16).toBe("boolean");
  });
});

suite(multipliers, (heap, name) => {
  const subject = contender(heap, name);

  test("batches in any order of axes, in all types", () => {
    fc.assert(
      fc.property(batches, fc.nat(1e6), (shape, seed) => void checkBatch(heap, subject, shape, seed)),
      { numRuns: 100 },
    );
  });

  test("heads of an attention by strides", () => {
    for (const shape of heads) checkBatch(heap, subject, shape);
  });

  test("refuses strides that say too little or too much", () => {
    const [shape] = heads as [MatmulShape];
    const [a, b, c] = [shape.strides!.a, shape.strides!.b, shape.strides!.c];
    const { strides: _, ...withoutStrides } = shape;
    expect(() => subject.scratchBytes(withoutStrides)).toThrow(/a batch needs strides/);
    expect(() => subject.scratchBytes({ ...shape, transposeB: true })).toThrow(
      /strides exclude transposeA and transposeB/,
    );
    expect(() => subject.scratchBytes({ ...shape, batch: [2, 0] })).toThrow(/batch is \[2,0\]/);
    expect(() => subject.scratchBytes({ ...shape, strides: { a: a.slice(1), b, c } })).toThrow(
      /strides.a is .* expected 4/,
    );
    expect(() => subject.scratchBytes({ ...shape, strides: { a, b: [...b.slice(0, 2), 2, 9], c } })).toThrow(
      /strides.b is .* one of the last two to be 1/,
    );
    const turned = [...c.slice(0, 2), 1, shape.m];
    expect(() => subject.scratchBytes({ ...shape, bias: 1, strides: { a, b, c: turned } })).toThrow(/rows of c/);
  });

  test("a single row by strides", () => void checkBatch(heap, subject, singleRow));

  test("half-precision products in all layouts, to f32 and to half", () => {
    const size = fc.oneof(between(1, 20), fc.constantFrom(33, 64));
    const shapes = fc.record({
      ...{ m: size, n: size, k: fc.oneof(size, fc.constant(530)), transposeA: fc.boolean(), transposeB: fc.boolean() },
      ...{ half: fc.constantFrom<FloatType>("bf16", "f16"), wide: fc.boolean() },
      activation: fc.constantFrom("relu", "sigmoid", "tanh"),
      ...{ bias: fc.boolean(), activated: fc.boolean() },
    });
    const property = fc.property(shapes, fc.nat(1e6), ({ half, wide, bias, activated, activation, ...shape }, seed) => {
      const types = { a: half, b: half, c: wide ? "f32" : half } as const;
      checkBatch(heap, subject, { ...shape, types, ...(bias && { bias: 1 }), ...(activated && { activation }) }, seed);
    });
    fc.assert(property, { numRuns: 50 });
  });

  test("addresses above 4 GiB give the same bits", () => {
    const high = highHeap();
    const there = contender(high, name);
    for (const shape of heads) {
      const bits = checkBatch(high, there, shape);
      // The measured choice may differ.
      if (name !== "onednn") expect(bits).toEqual(checkBatch(heap, subject, shape));
    }
  });
});
