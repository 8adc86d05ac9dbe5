// The shared heap of a process, its kernels, and the means by which threads wait for each other.
export { Heap, type HeapOptions, MAX_HEAP_BYTES } from "./heap.ts";
export { type AddressType, maximumPages } from "./kernel-source.ts";
export { moduleUrl } from "./source.ts";
export { Barrier, Lock } from "./threads.ts";
export { instantiate, kernelModule, supportsRelaxedSimd } from "./wasm.ts";
