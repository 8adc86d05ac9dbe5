// Layer and batch normalisation by WASM kernels; half-precision operands through f32 copies.
import { type Heap, instantiate } from "../../../memory/index.ts";
import type { NormAddresses, NormShape, Scratch, Work } from "../../provider.ts";
import { converter, copyBytes, padded, runAll, ScratchBlock } from "./half.ts";

type NormKernels = Record<"layerNorm" | "layerNormGrad" | "batchNorm" | "batchNormGrad", (...args: number[]) => void>;

const F64 = 8;

/** Of the sums over rows: one for each column forward, two backward. */
const totalBytes = ({ axis, direction, columns }: NormShape): number => {
  if (direction === "backward") return padded(2 * F64 * columns);
  return axis === "batch" ? padded(F64 * columns) : 0;
};

export function wasmNorm(heap: Heap): Work<NormShape, NormAddresses> {
  return {
    scratchBytes: (shape) =>
      (shape.direction === "forward" ? 2 : 3) * copyBytes(shape.type, shape.rows * shape.columns) + totalBytes(shape),
    bind: (shape, at) => bindNorm(heap, shape, at),
  };
}

function bindNorm(heap: Heap, shape: NormShape, at: NormAddresses & Scratch): () => void {
  const { layerNorm, layerNormGrad, batchNorm, batchNormGrad } = instantiate<NormKernels>("norm", heap);
  const { read, write } = converter(heap);
  const { direction, axis, rows, columns, epsilon, type } = shape;
  const n = rows * columns;
  const block = new ScratchBlock(at.scratch);
  const numbers = (address: number): number => (type === "f32" ? address : block.take(copyBytes(type, n)));
  const [x, y] = [numbers(at.x), numbers(at.y)];
  const { gamma, beta, mean, rstd } = at;
  if (direction === "forward") {
    const normalize = axis === "layer" ? layerNorm : batchNorm;
    const totals = block.take(totalBytes(shape));
    return runAll([
      read(type, at.x, x, n),
      () => normalize(x, gamma, beta, y, mean, rstd, rows, columns, epsilon, totals),
      write(type, y, at.y, n),
    ]);
  }
  const gradient = axis === "layer" ? layerNormGrad : batchNormGrad;
  const dx = numbers(at.dx!);
  const totals = block.take(totalBytes(shape));
  const { dgamma, dbeta } = at as Required<NormAddresses>;
  return runAll([
    read(type, at.x, x, n),
    read(type, at.y, y, n),
    () => gradient(y, x, gamma, mean, rstd, dx, dgamma, dbeta, rows, columns, totals),
    write(type, dx, at.dx!, n),
  ]);
}
