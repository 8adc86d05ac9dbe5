// Kernels to one WebAssembly module, and the module's functions over a memory.
import type { AddressType } from "../memory/index.ts";
import { mapFunction } from "./map.ts";
import { assemble } from "./module.ts";
import { reduceFunction } from "./reduce.ts";
import { rowUpdateFunction } from "./row-update.ts";
import { rowsFunction } from "./rows.ts";
import type { CompiledKernels, Kernel, KernelFunction } from "./spec.ts";
import type { FunctionBuilder } from "./wasm.ts";

function functionOf(kernel: Kernel, addressType: AddressType): FunctionBuilder {
  switch (kernel.type) {
    case "map":
      return mapFunction(kernel, addressType);
    case "reduce":
      return reduceFunction(kernel, addressType);
    case "rows":
      return rowsFunction(kernel, addressType);
    case "rowUpdate":
      return rowUpdateFunction(kernel, addressType);
    default:
      return kernel satisfies never;
  }
}

/** JSON, except that it tells numbers apart that JSON does not write. */
const keyOf = (kernel: Kernel): string =>
  JSON.stringify(kernel, (_, value: unknown) =>
    typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))
      ? `number ${Object.is(value, -0) ? "-0" : value}`
      : value,
  );

/**
 * Compiles kernels to one module, each distinct kernel once, for memories with addresses of a type (of a heap:
 * `heap.addressType`). The module can be posted to other threads.
 *
 * The code uses SIMD128 only, no relaxed instructions and no fused multiply-add: the same inputs give the same bits on
 * every machine.
 *
 * @throws RangeError or Error for a kernel that makes no sense, naming its fault
 *
 * @example
 * const compiled = compileKernels([{ type: "map", exprs: [max(input(0), 0)], shape: [512], inputs: [{ shape: [512] }] }]);
 * const [relu] = bindKernels(compiled, heap.memory);
 * relu!(x, y);
 */
export function compileKernels(kernels: readonly Kernel[], addressType: AddressType = "i32"): CompiledKernels {
  const functions = new Map<string, { name: string; body: FunctionBuilder }>();
  const names = kernels.map((kernel) => {
    const key = keyOf(kernel);
    let compiled = functions.get(key);
    if (!compiled) {
      compiled = { name: `k${functions.size}`, body: functionOf(kernel, addressType) };
      functions.set(key, compiled);
    }
    return compiled.name;
  });
  return { module: new WebAssembly.Module(assemble([...functions.values()], addressType)), names };
}

/** The compiled kernels over a shared memory, in the order in which they were given to `compileKernels`. */
export function bindKernels({ module, names }: CompiledKernels, memory: WebAssembly.Memory): KernelFunction[] {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return names.map((name) => exports[name] as KernelFunction);
}
