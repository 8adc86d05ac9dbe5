// Pooling by WASM kernels; half-precision pictures through f32 copies.
import { type Heap, instantiate } from "../../../memory/index.ts";
import type { PoolAddresses, PoolShape, Scratch, Work } from "../../provider.ts";
import { converter, copyBytes, ScratchBlock } from "./half.ts";

type PoolKernels = Record<"maxPool" | "maxPoolGrad" | "averagePool", (...args: number[]) => void>;

const sizeX = (s: PoolShape): number => s.batch * s.height * s.width * s.channels;
const sizeY = (s: PoolShape): number => s.batch * s.outHeight * s.outWidth * s.channels;

export function wasmPool(heap: Heap): Work<PoolShape, PoolAddresses> {
  return {
    scratchBytes: (s) => copyBytes(s.type, sizeX(s)) + copyBytes(s.type, sizeY(s)),
    bind: (s, at) => bindPool(heap, s, at),
  };
}

function bindPool(heap: Heap, s: PoolShape, at: PoolAddresses & Scratch): () => void {
  const { maxPool, maxPoolGrad, averagePool } = instantiate<PoolKernels>("pool", heap);
  const { read, write } = converter(heap);
  const block = new ScratchBlock(at.scratch);
  const half = s.type !== "f32";
  const x = half ? block.take(copyBytes(s.type, sizeX(s))) : at.x;
  const y = half ? block.take(copyBytes(s.type, sizeY(s))) : at.y;
  const forward = s.direction === "forward";
  const picture = [s.batch, s.height, s.width, s.channels, s.outHeight, s.outWidth] as const;
  const window = [s.kernelHeight, s.kernelWidth, s.strideHeight, s.strideWidth, s.padTop, s.padLeft] as const;
  const places = at.places ?? 0;
  const work = (): void => {
    if (s.mode === "average") averagePool(x, y, Number(forward), ...picture, ...window, Number(s.countPadding));
    else if (forward) maxPool(x, y, places, ...picture, ...window);
    else maxPoolGrad(x, y, places, ...picture, ...window);
  };
  const before = forward ? read(s.type, at.x, x, sizeX(s)) : read(s.type, at.y, y, sizeY(s));
  const after = forward ? write(s.type, y, at.y, sizeY(s)) : write(s.type, x, at.x, sizeX(s));
  return () => {
    before();
    work();
    after();
  };
}
