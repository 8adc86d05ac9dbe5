// Convolutions by WASM: the way that suits a shape, on f32 copies of half-precision operands.
import { type Heap, instantiate } from "../../../memory/index.ts";
import type { ConvAddresses, ConvShape, Work } from "../../provider.ts";
import type { DenseProduct } from "./batch.ts";
import { type GroupedKernels, groupedConv, suitsGroups } from "./grouped.ts";
import { converter, copyBytes, runAll, ScratchBlock } from "./half.ts";
import { windowConv } from "./windows.ts";

/** `product` multiplies windows by weights. */
export function wasmConv(heap: Heap, product: DenseProduct, kernels: GroupedKernels): Work<ConvShape, ConvAddresses> {
  const windows = windowConv(heap, product);
  const grouped = groupedConv(kernels);
  const { sumColumns } = instantiate<{ sumColumns(...args: number[]): void }>("conv", heap);
  const way = (s: ConvShape): Work<ConvShape, ConvAddresses> => (suitsGroups(s) ? grouped : windows);
  return onF32Copies(heap, {
    scratchBytes: (s) => way(s).scratchBytes(s),
    bind(s, at) {
      const work = way(s).bind(s, at);
      if (s.direction !== "weights" || !s.bias) return work;
      const pixels = s.batch * s.outHeight * s.outWidth;
      return runAll([work, () => sumColumns(at.y, at.bias!, pixels, s.outChannels)]);
    },
  });
}

const roles = ["x", "w", "y"] as const;
/** An operand: input, weights, output, or a gradient of one of them. */
export type Role = (typeof roles)[number];
/** What a direction writes. */
export const resultOf = { forward: "y", input: "x", weights: "w" } as const;

/**
 * Convolutions of all types by `work`, which sees the operands of `copied` in f32: those in half precision are copied to
 * scratch, or back.
 */
export function onF32Copies(
  heap: Heap,
  work: Work<ConvShape, ConvAddresses>,
  copied: readonly Role[] = roles,
): Work<ConvShape, ConvAddresses> {
  const f32 = Object.fromEntries(copied.map((role) => [role, "f32"]));
  const inF32 = (s: ConvShape): ConvShape => ({ ...s, types: { ...s.types, ...f32 } });
  return {
    scratchBytes: (s) =>
      copied.reduce((sum, role) => sum + copyBytes(s.types[role], sizesOf(s)[role]), work.scratchBytes(inF32(s))),
    bind(s, at) {
      const { types } = s;
      const sizes = sizesOf(s);
      const block = new ScratchBlock(at.scratch);
      const copies: Record<Role, number> = { x: at.x, w: at.w, y: at.y };
      const halves = copied.filter((role) => types[role] !== "f32");
      for (const role of halves) copies[role] = block.take(copyBytes(types[role], sizes[role]));
      const scratchBytes = work.scratchBytes(inF32(s));
      const { read, write } = converter(heap);
      const result = resultOf[s.direction];
      return runAll([
        ...halves
          .filter((role) => role !== result)
          .map((role) => read(types[role], at[role], copies[role], sizes[role])),
        work.bind(inF32(s), { ...at, ...copies, scratch: block.take(scratchBytes), scratchBytes }),
        ...halves
          .filter((role) => role === result)
          .map((role) => write(types[role], copies[role], at[role], sizes[role])),
      ]);
    },
  };
}

const sizesOf = (s: ConvShape) => ({
  x: s.batch * s.height * s.width * s.channels,
  w: (s.kernelHeight * s.kernelWidth * s.channels * s.outChannels) / s.groups,
  y: s.batch * s.outHeight * s.outWidth * s.outChannels,
});
