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
const resultOf = { forward: "y", input: "x", weights: "w" } as const;

/** Convolutions of all types by `work`, which sees f32 alone: half-precision operands are copied to scratch, or back. */
export function onF32Copies(heap: Heap, work: Work<ConvShape, ConvAddresses>): Work<ConvShape, ConvAddresses> {
  const inF32 = (s: ConvShape): ConvShape => ({ ...s, types: { x: "f32", w: "f32", y: "f32" } });
  return {
    scratchBytes: (s) =>
      roles.reduce((sum, role) => sum + copyBytes(s.types[role], sizesOf(s)[role]), work.scratchBytes(inF32(s))),
    bind(s, at) {
      const { types } = s;
      const sizes = sizesOf(s);
      const block = new ScratchBlock(at.scratch);
      const copy = (role: "x" | "w" | "y"): number =>
        types[role] === "f32" ? at[role] : block.take(copyBytes(types[role], sizes[role]));
      const f32 = { x: copy("x"), w: copy("w"), y: copy("y") };
      const scratchBytes = work.scratchBytes(inF32(s));
      const { read, write } = converter(heap);
      const result = resultOf[s.direction];
      return runAll([
        ...roles.filter((role) => role !== result).map((role) => read(types[role], at[role], f32[role], sizes[role])),
        work.bind(inF32(s), { ...at, ...f32, scratch: block.take(scratchBytes), scratchBytes }),
        write(types[result], f32[result], at[result], sizes[result]),
      ]);
    },
  };
}

const sizesOf = (s: ConvShape) => ({
  x: s.batch * s.height * s.width * s.channels,
  w: (s.kernelHeight * s.kernelWidth * s.channels * s.outChannels) / s.groups,
  y: s.batch * s.outHeight * s.outWidth * s.outChannels,
});
