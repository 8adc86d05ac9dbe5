// The contract suite for convolutions: every provider in each of its ways, all geometries and types, layers of networks.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Heap } from "../../memory/index.ts";
import { highHeap } from "../../memory/testing.ts";
import { windowedLength } from "../geometry.ts";
import type { FloatType } from "../plan.ts";
import type { ConvShape } from "../provider.ts";
import { checkConv } from "./contract-conv.ts";
import { contender, convolvers, whyAbsent } from "./testing.ts";

const directions = ["forward", "input", "weights"] as const;
const between = (least: number, most: number): fc.Arbitrary<number> => fc.integer({ min: least, max: most });
const floatType = fc.constantFrom<FloatType>("f32", "f32", "bf16", "f16");

type Unsized = Omit<ConvShape, "outHeight" | "outWidth">;

/** With the sizes of the result, for padding below and to the right; undefined where no window fits. */
function sized(shape: Unsized, [below, right]: readonly [number, number]): ConvShape | undefined {
  const window = {
    stride: [shape.strideHeight, shape.strideWidth] as const,
    padding: [shape.padTop, below, shape.padLeft, right] as const,
    dilation: [shape.dilationHeight, shape.dilationWidth] as const,
  };
  const outHeight = windowedLength(shape.height, shape.kernelHeight, window, 0);
  const outWidth = windowedLength(shape.width, shape.kernelWidth, window, 1);
  return outHeight < 1 || outWidth < 1 ? undefined : { ...shape, outHeight, outWidth };
}

/** What a direction may not have goes. */
function of(direction: ConvShape["direction"], { activation, bias, ...shape }: ConvShape): ConvShape {
  return {
    ...{ ...shape, direction, bias: bias && direction !== "input" },
    ...(activation !== undefined && direction === "forward" && { activation }),
  };
}

const convolutions = fc
  .record({
    direction: fc.constantFrom(...directions),
    groups: fc.constantFrom(1, 1, 1, 2, 3, 8),
    ...{ batch: between(1, 3), height: between(1, 9), width: between(1, 9) },
    ...{ perGroup: fc.oneof(fc.constant(1), between(1, 9)), results: fc.oneof(fc.constant(1), between(1, 9)) },
    ...{
      kernelHeight: between(1, 3),
      kernelWidth: between(1, 3),
      strideHeight: between(1, 3),
      strideWidth: between(1, 3),
    },
    ...{ dilationHeight: between(1, 2), dilationWidth: between(1, 2), padTop: between(0, 3), padLeft: between(0, 3) },
    ...{ below: between(0, 2), right: between(0, 2), bias: fc.boolean(), relu: fc.boolean() },
    ...{ types: fc.record({ x: floatType, w: floatType, y: floatType }), sameTypes: fc.boolean() },
  })
  .map(({ perGroup, results, below, right, relu, types, sameTypes, direction, ...rest }) => {
    const shape = sized(
      {
        ...{ ...rest, direction, channels: perGroup * rest.groups, outChannels: results * rest.groups },
        ...(relu && { activation: "relu" as const }),
        types: sameTypes ? { x: types.x, w: types.x, y: types.x } : types,
      },
      [below, right],
    );
    return shape && of(direction, shape);
  })
  .filter((shape) => shape !== undefined);

const dense: Unsized = {
  ...{ direction: "forward", batch: 2, height: 6, width: 5, channels: 16, outChannels: 16, groups: 1, bias: false },
  ...{ kernelHeight: 3, kernelWidth: 3, strideHeight: 1, strideWidth: 1, dilationHeight: 1, dilationWidth: 1 },
  ...{ padTop: 1, padLeft: 1, types: { x: "f32", w: "f32", y: "f32" } },
};
const pointwise = { kernelHeight: 1, kernelWidth: 1, padTop: 0, padLeft: 0 };
const strided = { strideHeight: 2, strideWidth: 2 };
const layers: Readonly<Record<string, ConvShape>> = {
  "the stem of a ResNet": sized(
    { ...dense, ...strided, batch: 1, height: 13, width: 12, channels: 3, outChannels: 20 },
    [1, 1],
  )!,
  "its 3×3": sized({ ...dense, channels: 64, bias: true, activation: "relu" }, [1, 1])!,
  "3×3 that halves": sized({ ...dense, ...strided, outChannels: 48 }, [0, 0])!,
  "1×1": sized({ ...dense, ...pointwise, channels: 40, outChannels: 72 }, [0, 0])!,
  "1×1 that halves": sized({ ...dense, ...pointwise, ...strided }, [0, 0])!,
  "many channels, few pixels": sized(
    { ...dense, batch: 1, height: 3, width: 3, channels: 530, outChannels: 24 },
    [1, 1],
  )!,
  depthwise: sized({ ...dense, channels: 36, outChannels: 36, groups: 36, bias: true, activation: "relu" }, [1, 1])!,
  "depthwise that halves": sized({ ...dense, ...strided, channels: 32, outChannels: 32, groups: 32 }, [0, 0])!,
  "groups of four": sized({ ...dense, channels: 32, outChannels: 32, groups: 8 }, [1, 1])!,
  "a kernel wider than the picture": sized({ ...dense, ...strided, ...pointwise, width: 1, kernelWidth: 3 }, [0, 2])!,
  "a dilated window": sized({ ...dense, dilationHeight: 2, dilationWidth: 3, padTop: 2, padLeft: 3 }, [2, 3])!,
};

/** Addresses with the highest of 32 bits set: a signed comparison would go wrong. */
function middleHeap(): Heap {
  const heap = Heap.create();
  heap.alloc(2 ** 31);
  return heap;
}

for (const name of convolvers) {
  const absent = whyAbsent(name);
  describe.skipIf(absent)(`${name}${absent ? ` (skipped: ${absent})` : ""}`, () => {
    const heap = middleHeap();
    const subject = contender(heap, name);

    test("all geometries and types", () => {
      fc.assert(
        fc.property(convolutions, fc.nat(1e6), (shape, seed) => void checkConv(heap, subject, shape, seed)),
        { numRuns: 120 },
      );
    });

    test.each(Object.entries(layers))("%s, in all directions", (_, layer) => {
      for (const direction of directions) checkConv(heap, subject, of(direction, layer));
    });

    test("half-precision operands, to f32 and to half", () => {
      for (const name of ["its 3×3", "depthwise", "groups of four", "a kernel wider than the picture"]) {
        for (const half of ["bf16", "f16"] as const) {
          const layer: ConvShape = { ...layers[name]!, types: { x: half, w: half, y: half } };
          for (const direction of directions) checkConv(heap, subject, of(direction, layer));
          checkConv(heap, subject, of("weights", { ...layer, types: { x: half, w: "f32", y: half } }));
        }
      }
    });

    test("refuses what it cannot compute, with the reason", () => {
      const { conv } = subject;
      const shape = layers["its 3×3"]!;
      const at = { x: 64, w: 128, y: 256, bias: 512, scratch: 1024, scratchBytes: 2 ** 24 };
      expect(() => conv.scratchBytes({ ...shape, groups: 3 })).toThrow(
        /groups is 3, which does not divide channels 64/,
      );
      expect(() => conv.scratchBytes({ ...shape, strideWidth: 0 })).toThrow(/strideWidth is 0/);
      expect(() => conv.scratchBytes({ ...shape, padTop: -1 })).toThrow(/padTop is -1/);
      expect(() => conv.scratchBytes({ ...shape, batch: 2 ** 27 })).toThrow(
        /x has \d+ elements, more than the largest/,
      );
      expect(() => conv.scratchBytes({ ...shape, direction: "input" })).toThrow(/input has no bias/);
      expect(() => conv.scratchBytes({ ...shape, direction: "weights" })).toThrow(/activation is relu/);
      expect(() => conv.bind(shape, { ...at, w: 130 })).toThrow(/address w is 130, expected .* multiple of 4/);
      const { bias: _, ...withoutBias } = at;
      expect(() => conv.bind(shape, withoutBias)).toThrow(/address bias is undefined/);
      if (conv.scratchBytes(shape) === 0) return;
      expect(() => conv.bind(shape, { ...at, scratchBytes: 0 })).toThrow(/0 bytes of scratch, \d+ needed/);
    });

    test("addresses above 4 GiB give the same bits", () => {
      const high = highHeap();
      const there = contender(high, name);
      for (const layer of ["the stem of a ResNet", "3×3 that halves", "depthwise", "groups of four"]) {
        for (const direction of directions) {
          const shape = of(direction, layers[layer]!);
          expect(checkConv(high, there, shape)).toEqual(checkConv(heap, subject, shape));
        }
      }
    });
  });
}
