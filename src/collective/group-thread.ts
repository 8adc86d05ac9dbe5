// The communication thread of a process: it opens the transport, then does the calls of its queue one after the other.
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { Heap } from "../memory/index.ts";
import type { DecidedCall } from "./call.ts";
import { CallQueue } from "./call-queue.ts";
import { Communicator } from "./communicator.ts";
import type { Links } from "./cost-model.ts";
import type { PreparedCall } from "./executor.ts";
import { openTransport, type TransportSpec } from "./open-transport.ts";
import { goFirst } from "./priority.ts";
import type { SharedBuffer } from "./transport.ts";

export interface GroupTask {
  readonly memory: WebAssembly.Memory;
  readonly rank: number;
  readonly size: number;
  readonly transport: TransportSpec;
  readonly queue: number;
  /** By which calls are announced before they are started. */
  readonly calls: MessagePort;
  readonly stallMs?: number;
  readonly segmentBytes?: number;
  readonly links?: Links;
}

/** A call and the number under which it is started. */
export interface AnnouncedCall {
  readonly id: number;
  readonly call: DecidedCall;
  /** It is started once and may be forgotten then. */
  readonly once: boolean;
}

/** What the thread says when it has connected, or failed to. */
export type GroupReply =
  | { readonly type: "open"; readonly links: Links; readonly shared: boolean; readonly buffer?: SharedBuffer }
  | { readonly type: "failed"; readonly name: string; readonly message: string; readonly rank?: number };

const { memory, rank, size, transport: spec, queue: address, calls, stallMs, ...options } = workerData as GroupTask;
const heap = Heap.attach(memory);
const queue = new CallQueue(heap, address);

// In memory that ranks share there is no message that could lie: reducing takes turns with computing.
if (spec.kind === "tcp" || spec.kind === "tls") goFirst();
const communicator = open();
if (communicator !== undefined) {
  try {
    serve(communicator);
    queue.closed();
  } catch (error) {
    queue.fail(error as Error);
  }
  communicator.close();
}
calls.close();

function open(): Communicator | undefined {
  try {
    const transport = openTransport(spec, { rank, size, heap, ...(stallMs === undefined ? {} : { stallMs }) });
    const opened = new Communicator({ transport, heap, ...options });
    const { buffer } = transport;
    reply({
      type: "open",
      links: opened.links,
      shared: transport.shared !== undefined,
      ...(buffer === undefined ? {} : { buffer }),
    });
    return opened;
  } catch (cause) {
    const { name, message, rank: culprit } = cause as Error & { rank?: number };
    reply({ type: "failed", name, message, ...(culprit === undefined ? {} : { rank: culprit }) });
    return undefined;
  }
}

function serve(opened: Communicator): void {
  const known = new Map<number, PreparedCall & { readonly once: boolean }>();
  for (let id = queue.take(); id !== undefined; id = queue.take()) {
    while (!known.has(id)) {
      const { id: announced, call, once } = receiveMessageOnPort(calls)!.message as AnnouncedCall;
      known.set(announced, { ...opened.prepare(call), once });
    }
    const call = known.get(id)!;
    opened.run(call);
    if (call.once) known.delete(id);
    queue.finish();
  }
}

function reply(message: GroupReply): void {
  parentPort!.postMessage(message);
}
