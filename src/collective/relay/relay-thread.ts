// The thread that owns a rank's encrypted connections: its event loop moves pieces between them and the window of the
// communication thread, which blocks.
import { workerData } from "node:worker_threads";
import { Heap } from "../../memory/index.ts";
import type { KeysOption } from "../../net/index.ts";
import { goFirst } from "../priority.ts";
import { connectAll } from "./connect.ts";
import { RelayPeer } from "./peer.ts";
import { Phase, RelayStatus } from "./status.ts";

export interface RelayTask {
  readonly memory: WebAssembly.Memory;
  readonly window: number;
  readonly status: number;
  readonly rank: number;
  readonly size: number;
  readonly addresses: readonly string[];
  readonly keys?: KeysOption;
  readonly job: string;
  readonly connectMs: number;
}

const { memory, window, status: at, ...options } = workerData as RelayTask;
const { rank, size } = options;
const heap = Heap.attach(memory);
goFirst();
const status = new RelayStatus(heap, at);
try {
  const connected = await connectAll(options);
  const peers = connected.map((each) => new RelayPeer({ heap, window, size, rank, ...each }));
  status.set(Phase.open);
  await Promise.all(peers.map((peer) => peer.run()));
  status.set(Phase.ended);
} catch (error) {
  status.fail(error as Error);
}
