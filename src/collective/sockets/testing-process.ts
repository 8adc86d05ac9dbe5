// For tests: a rank in a process. Its parent tells it what to do and exchanges the addresses.
import { Heap } from "../../memory/index.ts";
import { Communicator } from "../communicator.ts";
import { openTransport, type TransportSpec } from "../open-transport.ts";
import { scenarios } from "../testing-scenarios.ts";
import { listenOn } from "./address.ts";
import { libc } from "./libc.ts";

export interface ProcessRank {
  readonly transport: "unix" | "tcp" | "shared" | "tls";
  readonly keys?: string;
  readonly rank: number;
  readonly size: number;
  readonly address: string;
  readonly scenario: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly stallMs?: number;
}

const next = <T>(): Promise<T> => new Promise((resolve) => process.once("message", (message) => resolve(message as T)));
const tell = (message: unknown): Promise<void> => new Promise((resolve) => process.send!(message, () => resolve()));

const { transport: name, keys, rank, size, address, scenario, parameters, ...options } = await next<ProcessRank>();
const { fd, address: reached } = listenOn(address.replace(/^tls/, "tcp"));
// The relay listens itself, at a port that is free.
if (name === "tls") libc().close(fd);
const told = next<string[]>();
await tell(name === "tls" ? reached.replace(/^tcp/, name) : reached);
const addresses = await told;
const heap = Heap.create({ maxBytes: 2 ** 28 });
let outcome: unknown;
let communicator: Communicator | undefined;
try {
  const rest = { addresses, connectMs: 30_000 };
  const spec: TransportSpec =
    name === "tls" ? { kind: name, keys: keys!, ...rest } : { kind: name, listener: fd, bufferBytes: 2 ** 20, ...rest };
  const transport = openTransport(spec, { rank, size, heap, ...options });
  communicator = new Communicator({ transport, heap, segmentBytes: 16_384 });
  outcome = { result: scenarios[scenario]!({ communicator, heap, parameters }) ?? null };
} catch (error) {
  const { name: kind, message, rank: culprit } = error as Error & { rank?: number };
  outcome = { error: { name: kind, message, rank: culprit } };
}
communicator?.close();
await tell(outcome);
process.disconnect?.();
