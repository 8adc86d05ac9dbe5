// Converting values on the wire: f16 and bf16 from and to f32, by kernels of one group of elements at a time. What they read
// and write beyond the last element lies in the margin of scratch memory.

import { input } from "../kernels/expr.ts";
import { bindKernels, compileKernels, type KernelFunction, type MapKernel } from "../kernels/index.ts";
import type { Heap } from "../memory/index.ts";
import type { WireType } from "./messages.ts";

const GROUP = 512;

type Half = Exclude<WireType, "f32">;

export interface Converter {
  /** `n` halves at `from` to f32 at `to`. */
  toF32(half: Half, from: number, n: number, to: number): void;
  /** `n` f32 at `from` to halves at `to`. */
  fromF32(half: Half, from: number, n: number, to: number): void;
}

export function converterOf(heap: Heap): Converter {
  const kernel = (from: WireType, to: WireType): MapKernel => ({
    type: "map",
    exprs: [input(0)],
    shape: [GROUP],
    inputs: [{ shape: [GROUP], dtype: from }],
    dtypes: [to],
  });
  const halves = ["f16", "bf16"] as const;
  const kernels = halves.flatMap((half) => [kernel(half, "f32"), kernel("f32", half)]);
  const bound = bindKernels(compileKernels(kernels, heap.addressType), heap.memory);
  const run = (call: KernelFunction, from: number, fromBytes: number, n: number, to: number, toBytes: number): void => {
    for (let i = 0; i < n; i += GROUP) call(from + i * fromBytes, to + i * toBytes);
  };
  return {
    toF32: (half, from, n, to) => run(bound[2 * halves.indexOf(half)]!, from, 2, n, to, 4),
    fromF32: (half, from, n, to) => run(bound[2 * halves.indexOf(half) + 1]!, from, 4, n, to, 2),
  };
}
