// For tests: a rank in a process. Its parent tells it what to do and exchanges the addresses.
import { Heap } from "../../memory/index.ts";
import { Communicator } from "../communicator.ts";
import { scenarios } from "../testing-scenarios.ts";
import type { Transport } from "../transport.ts";
import { listenOn } from "./address.ts";
import { Mesh } from "./mesh.ts";
import { sharedTransport } from "./shared.ts";
import { SocketTransport } from "./transport.ts";

export interface ProcessRank {
  readonly transport: "unix" | "tcp" | "shared";
  readonly rank: number;
  readonly size: number;
  readonly address: string;
  readonly scenario: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly stallMs?: number;
}

const next = <T>(): Promise<T> => new Promise((resolve) => process.once("message", (message) => resolve(message as T)));
const tell = (message: unknown): Promise<void> => new Promise((resolve) => process.send!(message, () => resolve()));

const { transport: name, rank, size, address, scenario, parameters, ...options } = await next<ProcessRank>();
const { fd, address: reached } = listenOn(address);
const told = next<string[]>();
await tell(reached);
const addresses = await told;
const heap = Heap.create({ maxBytes: 2 ** 28 });
let outcome: unknown;
let communicator: Communicator | undefined;
try {
  const mesh = new Mesh({ rank, size, addresses, listener: fd, heap, connectMs: 30_000 });
  const transport: Transport =
    name === "shared"
      ? sharedTransport({ mesh, heap, bufferBytes: 2 ** 20, ...options })
      : new SocketTransport({ name, mesh, heap, ...options });
  communicator = new Communicator({ transport, heap, segmentBytes: 16_384 });
  outcome = { result: scenarios[scenario]!({ communicator, heap, parameters }) ?? null };
} catch (error) {
  const { name: kind, message, rank: culprit } = error as Error & { rank?: number };
  outcome = { error: { name: kind, message, rank: culprit } };
}
communicator?.close();
await tell(outcome);
process.disconnect?.();
