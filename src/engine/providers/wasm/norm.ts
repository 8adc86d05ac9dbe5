// Layer and batch normalisation by WASM kernels; half-precision operands through f32 copies.
import { type Heap, instantiate } from "../../../memory/index.ts";
import { bytesOf } from "../../plan.ts";
import type { NormAddresses, NormShape, Scratch, Work } from "../../provider.ts";
import { converter, copyBytes, padded, ScratchBlock } from "./half.ts";

type NormKernels = Record<
  "layerNorm" | "layerNormGrad" | "batchStatistics" | "reciprocalStd" | "batchNormalize" | "batchNormGrad",
  (...args: number[]) => void
>;

export function wasmNorm(heap: Heap): Work<NormShape, NormAddresses> {
  return {
    scratchBytes: ({ axis, rows, columns, type, direction }) =>
      (direction === "forward" ? 2 : 3) * copyBytes(type, rows * columns) +
      (axis === "batch" ? padded(bytesOf.f32 * rows) : 0),
    bind: (shape, at) => bindNorm(heap, shape, at),
  };
}

function bindNorm(heap: Heap, shape: NormShape, at: NormAddresses & Scratch): () => void {
  const kernels = instantiate<NormKernels>("norm", heap);
  const { fill } = instantiate<{ fill(to: number, bytes: number, value: number): void }>("conv", heap);
  const { read, write } = converter(heap);
  const { direction, axis, rows, columns, epsilon, type } = shape;
  const n = rows * columns;
  const block = new ScratchBlock(at.scratch);
  const numbers = (address: number): number => (type === "f32" ? address : block.take(copyBytes(type, n)));
  const [x, y] = [numbers(at.x), numbers(at.y)];
  const dx = direction === "backward" ? numbers(at.dx!) : 0;
  // The kernels weigh rows; here each counts.
  const ones = axis === "batch" ? block.take(bytesOf.f32 * rows) : 0;
  const { gamma, beta, mean, rstd, dgamma, dbeta } = at;
  const work = (): void => {
    if (axis === "batch") fill(ones, bytesOf.f32 * rows, 1);
    if (direction === "forward") {
      if (axis === "layer") kernels.layerNorm(x, gamma, beta, y, mean, rstd, rows, columns, epsilon);
      else {
        kernels.batchStatistics(x, ones, mean, rstd, rows, columns);
        kernels.reciprocalStd(rstd, rstd, columns, epsilon);
        kernels.batchNormalize(x, gamma, beta, mean, rstd, y, rows, columns);
      }
    } else if (axis === "layer") kernels.layerNormGrad(y, x, gamma, mean, rstd, dx, dgamma!, dbeta!, rows, columns);
    else kernels.batchNormGrad(y, x, gamma, mean, rstd, ones, dx, dgamma!, dbeta!, rows, columns);
  };
  const before = [read(type, at.x, x, n), direction === "backward" ? read(type, at.y, y, n) : () => {}] as const;
  const after = direction === "forward" ? write(type, y, at.y, n) : write(type, dx, at.dx!, n);
  return () => {
    before[0]();
    before[1]();
    work();
    after();
  };
}
