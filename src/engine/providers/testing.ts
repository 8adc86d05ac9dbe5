// For tests: every provider and variant that the contract suite holds to account, and a thread that runs cases on one.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { Heap, supportsRelaxedSimd } from "../../memory/index.ts";
import { KERNEL_FOLDER, kernelFileName } from "../../memory/kernel-source.ts";
import type { Provider } from "../provider.ts";
import { checkMatmul, type MatmulCase } from "./contract.ts";
import type { Method } from "./onednn/choose.ts";
import { findOneDnn } from "./onednn/library.ts";
import { oneDnnProvider } from "./onednn/provider.ts";
import type { GroupedKernels } from "./wasm/grouped.ts";
import { type GemmKernels, type GemvKernels, wasmProvider } from "./wasm/provider.ts";

/** `wasm plain` is the variant without relaxed SIMD; `onednn` chooses by measurement, the others where they can. */
const variants = ["wasm", "wasm plain", "onednn"] as const;
const ways = ["sgemm", "matmul", "direct", "mirrored", "blocked", "windows"] as const satisfies Method[];

export type Contender = (typeof variants)[number] | `onednn ${(typeof ways)[number]}`;

/** Those that multiply in different ways. */
export const multipliers: readonly Contender[] = [...variants, "onednn sgemm", "onednn matmul"];
/** Those that convolve in different ways. */
export const convolvers: readonly Contender[] = [
  ...(["wasm", "wasm plain"] as const),
  ...(["onednn direct", "onednn mirrored", "onednn blocked", "onednn windows"] as const),
];
/** Those that pool and normalise in different ways. */
export const others: readonly Contender[] = ["wasm", "onednn"];

/** Why a contender cannot run here, or undefined. */
export function whyAbsent(name: Contender): string | undefined {
  if (name === "wasm plain")
    return supportsRelaxedSimd() ? undefined : "without relaxed SIMD `wasm` is the plain variant";
  return name.startsWith("onednn") ? oneDnnProblem() : undefined;
}

function oneDnnProblem(): string | undefined {
  const { library, problems } = findOneDnn();
  return library ? undefined : problems.join("; ");
}

export function contender(heap: Heap, name: Contender): Provider {
  if (name === "wasm") return wasmProvider(heap);
  if (name === "wasm plain") {
    return wasmProvider(heap, {
      gemm: plain<GemmKernels>(heap, "gemm"),
      gemv: plain<GemvKernels>(heap, "gemv"),
      grouped: plain<GroupedKernels>(heap, "grouped"),
    });
  }
  const library = findOneDnn().library!;
  if (name === "onednn") return oneDnnProvider(heap, library);
  const method = ways.find((way) => name === `onednn ${way}`)!;
  return oneDnnProvider(heap, library, { method, byRule: true });
}

/** The variant without relaxed SIMD, whatever the engine supports. */
function plain<T>(heap: Heap, kernel: string): T {
  const file = kernelFileName(kernel, { variant: "plain", addressType: heap.addressType });
  const path = join(import.meta.dirname, "../../..", KERNEL_FOLDER, file);
  const module = new WebAssembly.Module(readFileSync(path));
  return new WebAssembly.Instance(module, { env: { memory: heap.memory } }).exports as T;
}

export interface ThreadTask {
  readonly memory: WebAssembly.Memory;
  readonly contender: Contender;
  readonly cases: readonly MatmulCase[];
}

/** Posts the bits of the results. */
function runThread({ memory, contender: name, cases }: ThreadTask): void {
  const heap = Heap.attach(memory);
  const provider = contender(heap, name);
  parentPort!.postMessage(cases.map((test) => checkMatmul(heap, provider, test)));
}

if (!isMainThread && workerData?.contender !== undefined) runThread(workerData as ThreadTask);
