// Loading compiled kernels: from `kernels/` beside the published build, else from the repository's build folder, where a
// kernel that does not match its source is refused.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Heap } from "./heap.ts";
import { type AddressType, KERNEL_FOLDER, kernelFileName, kernelHash, readStamp } from "./kernel-source.ts";

const modules = new Map<string, WebAssembly.Module>();
const instances = new WeakMap<WebAssembly.Memory, Map<string, WebAssembly.Exports>>();
let relaxed: boolean | undefined;

/** Whether this engine has relaxed SIMD (fused multiply-add). */
export function supportsRelaxedSimd(): boolean {
  // One function of type () -> v128 that applies f32x4.relaxed_madd (0xfd 0x85 0x02) to three f32x4.splat(0).
  relaxed ??= WebAssembly.validate(
    Uint8Array.of(
      ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
      ...[0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b],
      ...[0x03, 0x02, 0x01, 0x00],
      ...[0x0a, 0x1c, 0x01, 0x1a, 0x00],
      ...[0x43, 0x00, 0x00, 0x00, 0x00, 0xfd, 0x13],
      ...[0x43, 0x00, 0x00, 0x00, 0x00, 0xfd, 0x13],
      ...[0x43, 0x00, 0x00, 0x00, 0x00, 0xfd, 0x13],
      ...[0xfd, 0x85, 0x02, 0x0b],
    ),
  );
  return relaxed;
}

/**
 * The compiled kernel module `name`, from the source `name.as.ts`, for memories with addresses of a type; its relaxed-SIMD
 * variant where there is one and the engine supports it.
 * @throws when the kernel is missing or does not match its source.
 */
export function kernelModule(name: string, addressType: AddressType): WebAssembly.Module {
  const key = `${name} ${addressType}`;
  let module = modules.get(key);
  if (module === undefined) {
    module = loadKernel(name, addressType, import.meta.url);
    modules.set(key, module);
  }
  return module;
}

/** The exports of kernel `name` bound to a heap; one instance a heap and thread. */
export function instantiate<T extends object>(name: string, heap: Heap): T {
  let ofHeap = instances.get(heap.memory);
  if (ofHeap === undefined) {
    ofHeap = new Map();
    instances.set(heap.memory, ofHeap);
  }
  let exports = ofHeap.get(name);
  if (exports === undefined) {
    const module = kernelModule(name, heap.addressType);
    exports = new WebAssembly.Instance(module, { env: { memory: heap.memory } }).exports;
    ofHeap.set(name, exports);
  }
  return exports as T;
}

/** As `kernelModule`, for a loader that lies at `from` (a module URL). */
export function loadKernel(name: string, addressType: AddressType, from: string): WebAssembly.Module {
  const here = dirname(fileURLToPath(from));
  const published = join(here, "../kernels");
  const fromBuild = from.endsWith(".js") && existsSync(published);
  const root = join(here, "../..");
  const folder = fromBuild ? published : join(root, KERNEL_FOLDER);
  const plain = join(folder, kernelFileName(name, { variant: "plain", addressType }));
  const fast = join(folder, kernelFileName(name, { variant: "relaxed", addressType }));
  const path = supportsRelaxedSimd() && existsSync(fast) ? fast : plain;
  if (!existsSync(path)) {
    throw new Error(
      fromBuild
        ? `kernel "${name}" is missing: there is no ${path}; install the package again`
        : `kernel "${name}" is not built: there is no ${path}; run \`npm run kernels\``,
    );
  }
  const module = new WebAssembly.Module(readFileSync(path));
  if (!fromBuild) refuseStale(name, path, module, root);
  return module;
}

function refuseStale(name: string, path: string, module: WebAssembly.Module, root: string): void {
  const stamp = readStamp(module);
  if (stamp === undefined) throw new Error(`${path} says not what it was built from; run \`npm run kernels\``);
  const source = join(root, stamp.source);
  if (!existsSync(source)) {
    throw new Error(`kernel "${name}" is stale: its source ${stamp.source} is gone; run \`npm run kernels\``);
  }
  if (kernelHash(source, root) !== stamp.hash) {
    throw new Error(`kernel "${name}" is stale: ${stamp.source} changed since it was built; run \`npm run kernels\``);
  }
}
