// The contract suite for convolutions, pooling, norms and products of batches, on every provider.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Heap } from "../../memory/index.ts";
import { windowedLength } from "../geometry.ts";
import type { FloatType } from "../plan.ts";
import type { ConvShape, MatmulShape, PoolShape } from "../provider.ts";
import { checkBatch, checkConv, checkNorm, checkPool } from "./contract-work.ts";
import { contender, contenders, whyAbsent } from "./testing.ts";

const small = (least: number, most: number): fc.Arbitrary<number> => fc.integer({ min: least, max: most });
const floatType = fc.constantFrom<FloatType>("f32", "f32", "bf16", "f16");
const seed = fc.nat(1e6);
const runs = (numRuns: number) => ({ numRuns });

/** Windows that fit into the padded picture; padding after is what the sizes leave. */
function convShape(
  base: Omit<ConvShape, "outHeight" | "outWidth">,
  after: readonly [number, number],
): ConvShape | undefined {
  const window = {
    stride: [base.strideHeight, base.strideWidth] as const,
    padding: [base.padTop, after[0], base.padLeft, after[1]] as const,
    dilation: [base.dilationHeight, base.dilationWidth] as const,
  };
  const outHeight = windowedLength(base.height, base.kernelHeight, window, 0);
  const outWidth = windowedLength(base.width, base.kernelWidth, window, 1);
  return outHeight < 1 || outWidth < 1 ? undefined : { ...base, outHeight, outWidth };
}

const convolutions = fc
  .record({
    direction: fc.constantFrom("forward", "input", "weights"),
    groups: fc.constantFrom(1, 1, 2, 3),
    ...{ batch: small(1, 2), height: small(1, 7), width: small(1, 7), perGroup: small(1, 5), results: small(1, 6) },
    ...{ kernelHeight: small(1, 3), kernelWidth: small(1, 3), strideHeight: small(1, 3), strideWidth: small(1, 2) },
    ...{ dilationHeight: small(1, 2), dilationWidth: small(1, 2), padTop: small(0, 2), padLeft: small(0, 2) },
    ...{ afterHeight: small(0, 2), afterWidth: small(0, 2), bias: fc.boolean(), relu: fc.boolean(), type: floatType },
  })
  .map(({ perGroup, results, afterHeight, afterWidth, relu, type, ...rest }) =>
    convShape(
      {
        ...rest,
        direction: rest.direction as ConvShape["direction"],
        channels: perGroup * rest.groups,
        outChannels: results * rest.groups,
        bias: rest.bias && rest.direction !== "input",
        ...(relu && rest.direction === "forward" && { activation: "relu" as const }),
        types: { x: type, w: type, y: type },
      },
      [afterHeight, afterWidth],
    ),
  )
  .filter((shape) => shape !== undefined);

const pools = fc
  .record({
    direction: fc.constantFrom<PoolShape["direction"]>("forward", "input"),
    mode: fc.constantFrom<PoolShape["mode"]>("max", "average"),
    ...{ batch: small(1, 2), height: small(1, 8), width: small(1, 8), channels: small(1, 19) },
    ...{ kernelHeight: small(1, 3), kernelWidth: small(1, 3), strideHeight: small(1, 3), strideWidth: small(1, 3) },
    ...{ padTop: small(0, 1), padLeft: small(0, 1), countPadding: fc.boolean(), type: floatType },
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

/** Heads of an attention: [B, T, H, D] read as [B, H, T, D]. */
function heads(type: FloatType, transposeB: boolean, permuted: boolean): MatmulShape {
  const [b, h, t, d] = [2, 3, 5, 4];
  const dense = (rows: number, columns: number): number[] => [h * rows * columns, rows * columns, columns, 1];
  const split = [t * h * d, d, h * d, 1];
  const a = transposeB ? (permuted ? split : dense(t, d)) : dense(t, t);
  const right = permuted ? split : dense(t, d);
  return {
    ...{ m: t, n: transposeB ? t : d, k: transposeB ? d : t, batch: [b, h], transposeA: false, transposeB: false },
    strides: {
      a,
      b: transposeB ? [...right.slice(0, 2), right[3]!, right[2]!] : right,
      c: transposeB ? dense(t, t) : permuted ? split : dense(t, d),
    },
    types: { a: type, b: type, c: type },
  };
}

const stem: ConvShape = {
  direction: "forward",
  ...{ batch: 1, height: 20, width: 18, channels: 3, outHeight: 10, outWidth: 9, outChannels: 64 },
  ...{ kernelHeight: 7, kernelWidth: 7, strideHeight: 2, strideWidth: 2, dilationHeight: 1, dilationWidth: 1 },
  ...{ padTop: 3, padLeft: 3, groups: 1, bias: false, types: { x: "f32", w: "f32", y: "f32" } },
};
const layers: ConvShape[] = [
  stem,
  { ...stem, channels: 64, kernelHeight: 3, kernelWidth: 3, padTop: 1, padLeft: 1, bias: true, activation: "relu" },
  {
    ...stem,
    ...{ channels: 40, outChannels: 48, kernelHeight: 1, kernelWidth: 1, strideHeight: 1, strideWidth: 1 },
    ...{ padTop: 0, padLeft: 0, outHeight: 20, outWidth: 18 },
  },
  {
    ...stem,
    ...{ channels: 32, outChannels: 32, groups: 32, kernelHeight: 3, kernelWidth: 3, padTop: 1, padLeft: 1 },
  },
];

for (const name of contenders) {
  const absent = whyAbsent(name);
  describe.skipIf(absent)(`${name}${absent ? ` (skipped: ${absent})` : ""}`, () => {
    const heap = Heap.create({ maxBytes: 2 ** 28 });
    const subject = contender(heap, name);

    test("convolutions of all geometries and types", () => {
      fc.assert(
        fc.property(convolutions, seed, (shape, at) => checkConv(heap, subject, shape, at)),
        runs(120),
      );
    });

    test("layers of convolution nets, in all directions", () => {
      for (const layer of layers) {
        for (const direction of ["forward", "input", "weights"] as const) {
          for (const type of ["f32", "bf16"] as const) {
            const { activation, ...rest } = layer;
            checkConv(heap, subject, {
              ...rest,
              ...(activation !== undefined && direction === "forward" && { activation }),
              ...{ direction, bias: layer.bias && direction !== "input", types: { x: type, w: type, y: type } },
            });
          }
        }
      }
    });

    test("half-precision weight gradients may be f32", () => {
      const { activation: _, ...plain } = layers[1]!;
      checkConv(heap, subject, { ...plain, direction: "weights", types: { x: "bf16", w: "f32", y: "bf16" } });
    });

    test("pooling", () => {
      fc.assert(
        fc.property(pools, seed, (shape, at) => checkPool(heap, subject, shape, at)),
        runs(80),
      );
    });

    test("norms of rows and of columns", () => {
      const norms = fc.record({
        ...{ direction: fc.constantFrom("forward", "backward"), axis: fc.constantFrom("layer", "batch") },
        ...{ rows: small(2, 40), columns: small(2, 40), epsilon: fc.constant(1e-3), type: floatType },
      });
      fc.assert(
        fc.property(norms, seed, (shape, at) => checkNorm(heap, subject, shape as Parameters<typeof checkNorm>[2], at)),
        runs(60),
      );
    });

    test("heads of an attention by strides, in all types", () => {
      for (const type of ["f32", "bf16", "f16"] as const) {
        for (const transposeB of [true, false]) {
          for (const permuted of [true, false]) checkBatch(heap, subject, heads(type, transposeB, permuted));
        }
      }
    });

    test("half-precision products in all layouts, to f32 and to half", () => {
      const size = fc.oneof(small(1, 20), fc.constantFrom(33, 64));
      const shapes = fc.record({
        ...{ m: size, n: size, k: size, transposeA: fc.boolean(), transposeB: fc.boolean() },
        ...{ half: fc.constantFrom<FloatType>("bf16", "f16"), wide: fc.boolean(), bias: fc.boolean() },
      });
      fc.assert(
        fc.property(shapes, seed, ({ half, wide, bias, ...shape }, at) => {
          const types = { a: half, b: half, c: wide ? ("f32" as const) : half };
          checkBatch(heap, subject, { ...shape, types, ...(bias && { bias: 1, activation: "relu" as const }) }, at);
        }),
        runs(80),
      );
    });

    test("addresses above 2 GiB", () => {
      const large = Heap.create();
      large.alloc(2 ** 31);
      const there = contender(large, name);
      checkConv(large, there, layers[1]!);
      checkPool(large, there, { ...stem, direction: "forward", mode: "max", countPadding: false, type: "f32" });
      checkNorm(large, there, { direction: "forward", axis: "batch", rows: 9, columns: 7, epsilon: 1e-3, type: "f32" });
      checkBatch(large, there, heads("bf16", true, true));
    });

    test("says whether bf16 is real", () => expect(typeof subject.nativeBf16).toBe("boolean"));
  });
}
