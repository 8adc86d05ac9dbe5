// For tests: a trainer thread that binds a prepared plan to its arena and runs it.
import { workerData } from "node:worker_threads";
import { Heap } from "../memory/index.ts";
import { bind } from "./cpu.ts";
import type { Prepared } from "./prepare.ts";
import { plainProvider } from "./testing.ts";

export interface TrainerData {
  memory: WebAssembly.Memory;
  prepared: Prepared;
  arena: number;
  shared: number;
  steps: number;
}

const { memory, prepared, arena, shared, steps } = workerData as TrainerData;
const heap = Heap.attach(memory);
const executable = bind(prepared, { heap, arena, shared, provider: plainProvider(heap) });
for (let step = 0; step < steps; step++) executable.run();
