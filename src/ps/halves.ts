// Converting values on the wire: f16 and bf16 from and to f32, by kernels of one group of elements at a time. What they read
// and write beyond the last element lies in the margin of scratch memory.

import { input } from "../kernels/expr.ts";
import { bindKernels, compileKernels, type KernelFunction, type MapKernel } from "../kernels/index.ts";
import type { Heap } from "../memory/index.ts";
import { type WireType, wireBytes } from "./messages.ts";

const GROUP = 512;

export interface Converter {
  /** `n` elements of the wire's type at `from` to f32 at `to`. */
  toF32(wire: WireType, from: number, n: number, to: number): void;
  /** f32 at `from` to the wire's type at `to`. */
  fromF32(wire: WireType, from: number, n: number, to: number): void;
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
    toF32(wire, from, n, to) {
      if (wire === "f32") heap.u8(to, 4 * n).set(heap.u8(from, 4 * n));
      else run(bound[2 * halves.indexOf(wire)]!, from, wireBytes[wire], n, to, 4);
    },
    fromF32(wire, from, n, to) {
      if (wire === "f32") heap.u8(to, 4 * n).set(heap.u8(from, 4 * n));
      else run(bound[2 * halves.indexOf(wire) + 1]!, from, 4, n, to, wireBytes[wire]);
    },
  };
}
