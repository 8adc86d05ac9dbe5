// Every way to convolve, whether or not a measurement would take it on this machine; the contract suite runs on those taken.
import { describe, expect, test } from "vitest";
import { Heap } from "../../../memory/index.ts";
import type { ConvShape } from "../../provider.ts";
import { checkConv } from "../contract-conv.ts";
import { whyAbsent } from "../testing.ts";
import { resultOf } from "../wasm/conv.ts";
import type { Method } from "./choose.ts";
import { crashes } from "./defects.ts";
import { findOneDnn } from "./library.ts";
import { oneDnnProvider } from "./provider.ts";

const square: ConvShape = {
  direction: "forward",
  ...{ batch: 2, height: 9, width: 8, channels: 16, outHeight: 9, outWidth: 8, outChannels: 24 },
  ...{ kernelHeight: 3, kernelWidth: 3, strideHeight: 1, strideWidth: 1, dilationHeight: 1, dilationWidth: 1 },
  ...{ padTop: 1, padLeft: 1, groups: 1, bias: false, types: { x: "f32", w: "f32", y: "f32" } },
};
const bf16 = { types: { x: "bf16", w: "bf16", y: "bf16" } } as const;
const strided: ConvShape = { ...square, strideHeight: 2, strideWidth: 2, outHeight: 5, outWidth: 4 };
const dilated: ConvShape = { ...square, dilationHeight: 2, dilationWidth: 2, padTop: 2, padLeft: 2 };
const grouped: ConvShape = { ...square, groups: 2, outChannels: 32 };
const uneven: ConvShape = { ...square, kernelHeight: 2, padTop: 0, outHeight: 8, padLeft: 0, outWidth: 6 };
const pointwise: ConvShape = { ...square, kernelHeight: 1, kernelWidth: 1, padTop: 0, padLeft: 0 };
/** More weights than numbers in the pictures. */
const heavy: ConvShape = {
  ...{ ...pointwise, ...bf16, batch: 1, height: 2, width: 3, outHeight: 2, outWidth: 3 },
  ...{ channels: 32, outChannels: 40 },
};
/** Many weights for few pixels: products of windows by rule. */
const small: ConvShape = {
  ...{ ...square, batch: 3, height: 2, width: 3, outHeight: 2, outWidth: 3, channels: 40, outChannels: 24 },
};
const absent = whyAbsent("onednn");

describe.skipIf(absent)(`ways to convolve${absent ? ` (skipped: ${absent})` : ""}`, () => {
  const heap = Heap.create({ maxBytes: 2 ** 24 });
  const by = (method?: Method): ReturnType<typeof oneDnnProvider> =>
    oneDnnProvider(heap, findOneDnn().library!, method ? { method } : { byRule: true });

  test("input gradients with mirrored weights", () => {
    for (const shape of [square, dilated, grouped, uneven, { ...square, ...bf16 }]) {
      checkConv(heap, by("mirrored"), { ...shape, direction: "input" });
      checkConv(heap, by("direct"), { ...shape, direction: "input" });
    }
  });

  test("strided weight gradients on blocks of channels", () => {
    for (const method of ["blocked", "direct"] as const) {
      checkConv(heap, by(method), { ...strided, direction: "weights" });
      checkConv(heap, by(method), { ...strided, direction: "weights", bias: true });
    }
  });

  test("small pictures as products of windows, all of them and the last few apart", () => {
    const many: ConvShape = { ...small, batch: 100, channels: 400, padLeft: 0, outWidth: 1 };
    const stepped: ConvShape = { ...small, strideHeight: 2, outHeight: 1, strideWidth: 2, outWidth: 2 };
    for (const direction of ["forward", "input", "weights"] as const) {
      for (const shape of [small, many, stepped]) {
        checkConv(heap, by("windows"), { ...shape, direction });
        checkConv(heap, by("windows"), { ...shape, ...bf16, direction });
      }
      checkConv(heap, by("windows"), { ...many, types: { ...bf16.types, [resultOf[direction]]: "f32" }, direction });
      const provider = by();
      checkConv(heap, provider, { ...small, direction });
      expect(Object.values(provider.choices())).toEqual(["windows"]);
    }
    for (const types of [{}, bf16]) checkConv(heap, by(), { ...small, ...types, bias: true, activation: "relu" });
    checkConv(heap, by(), { ...small, bias: true, direction: "weights" });
  });

  test.skipIf(findOneDnn().library?.native.major !== 2)("3×3 by Winograd's algorithm", () => {
    const wide: ConvShape = { ...square, outChannels: 32 };
    const odd: ConvShape = { ...wide, padTop: 0, outHeight: 7, padLeft: 0, outWidth: 6 };
    const provider = by("winograd");
    for (const shape of [wide, odd]) {
      for (const direction of ["forward", "input", "weights"] as const) {
        checkConv(heap, provider, { ...shape, direction });
        checkConv(heap, provider, { ...shape, ...bf16, direction });
        if (direction !== "input") checkConv(heap, provider, { ...shape, direction, bias: true });
      }
    }
    checkConv(heap, provider, { ...wide, bias: true, activation: "relu" });
    expect(provider.choices(), "no other way was taken").toEqual({});
  });

  test("1×1 gradients as products", () => {
    for (const direction of ["input", "weights"] as const) {
      for (const method of ["sgemm", "matmul"] as const) checkConv(heap, by(method), { ...pointwise, direction });
    }
  });

  test("1×1 gradients of half-precision weights as products that are turned", () => {
    const narrow: ConvShape = { ...pointwise, ...bf16, channels: 40, outChannels: 8, direction: "weights" };
    const provider = by();
    checkConv(heap, provider, narrow);
    expect(Object.values(provider.choices())).toEqual(["turned"]);
    checkConv(heap, by("turned"), { ...narrow, strideHeight: 2, strideWidth: 3, outHeight: 5, outWidth: 3 });
  });

  test("strided 1×1 gradients of weights as products of gathered pixels", () => {
    const stepped: ConvShape = { ...pointwise, strideHeight: 2, strideWidth: 3, outHeight: 5, outWidth: 3 };
    checkConv(heap, by(), { ...stepped, direction: "weights" });
    checkConv(heap, by(), { ...stepped, ...bf16, direction: "weights" });
  });

  test("half-precision gradients in f32", () => {
    for (const shape of [square, strided, pointwise]) {
      checkConv(heap, by(), { ...shape, direction: "weights", types: { x: "bf16", w: "f32", y: "bf16" } });
      checkConv(heap, by(), { ...shape, direction: "input", types: { x: "f32", w: "bf16", y: "bf16" } });
    }
  });

  test("where the library would crash, products, also of gathered pixels", () => {
    const { native, ...rest } = findOneDnn().library!;
    const library = { ...rest, native: { ...native, version: "3.7.2" } };
    const layer: ConvShape = {
      ...{ ...pointwise, batch: 1, channels: 512, outChannels: 1024 },
      ...{ height: 4, width: 3, strideHeight: 2, strideWidth: 2, outHeight: 2, outWidth: 2 },
    };
    for (const direction of ["forward", "input", "weights"] as const) {
      const provider = oneDnnProvider(heap, library, { byRule: true });
      checkConv(heap, provider, { ...layer, direction });
      expect(Object.values(provider.choices())).toEqual(["sgemm"]);
    }
  });

  test("channels for which versions from 2.7 on divide by zero", () => {
    const layer: ConvShape = { ...pointwise, channels: 1024, outChannels: 2048 };
    for (const version of ["2.7.0", "3.7.2"]) expect(crashes({ version }, layer)).toBe(true);
    expect(crashes({ version: "2.6.3" }, layer)).toBe(false);
    expect(crashes({ version: "3.7.2" }, { ...layer, channels: 2048, outChannels: 1024 })).toBe(true);
    expect(crashes({ version: "3.7.2" }, { ...layer, channels: 2048, outChannels: 4096, groups: 2 })).toBe(true);
    expect(crashes({ version: "3.7.2" }, { ...layer, outChannels: 2000 })).toBe(false);
    expect(crashes({ version: "3.7.2" }, { ...layer, kernelHeight: 3 })).toBe(false);
  });

  test("1×1 convolutions of bf16 with heavy weights as products", () => {
    for (const method of ["matmul", "packed", "direct"] as const) {
      checkConv(heap, by(method), { ...heavy, bias: true, activation: "relu" });
      checkConv(heap, by(method), { ...heavy, direction: "input" });
    }
  });

  test("by rule: products where the kernel is 1×1, mirrored weights for input gradients of stride 1", () => {
    const provider = by();
    for (const direction of ["forward", "input", "weights"] as const) {
      for (const shape of [pointwise, square, strided]) provider.conv.scratchBytes({ ...shape, direction });
    }
    expect(Object.values(provider.choices())).toEqual([
      ...["direct", "direct", "direct"],
      ...["sgemm", "mirrored", "direct"],
      ...["sgemm", "direct", "direct"],
    ]);
  });
});
