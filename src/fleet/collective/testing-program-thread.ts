// For tests: a rank that runs a plan once, in a thread of its own.
import { parentPort, workerData } from "node:worker_threads";
import { bind, type Prepared } from "../../engine/index.ts";
import { attachProvider, type ProviderDescription } from "../../engine/providers/index.ts";
import { Heap } from "../../memory/index.ts";
import { attachCommunication, type ExchangeHandle } from "./handle.ts";

export interface RankTask {
  readonly memory: WebAssembly.Memory;
  readonly prepared: Prepared;
  readonly provider: ProviderDescription;
  readonly arena: number;
  readonly handle: ExchangeHandle;
}

const { memory, prepared, provider, arena, handle } = workerData as RankTask;
const heap = Heap.attach(memory);
const executable = bind(prepared, {
  heap,
  provider: attachProvider(heap, provider),
  ...{ arena, shared: 0, communication: attachCommunication(heap, handle) },
});
executable.run();
executable.dispose();
parentPort!.postMessage("done");
