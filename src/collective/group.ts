// A rank's part in a group: calls go to a communication thread and the caller goes on. Calls of all ranks are done in the
// order in which each rank starts them; ranks that start different ones are told which.
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { type Heap, moduleUrl } from "../memory/index.ts";
import { type CallOptions, type DecidedCall, sentBytes } from "./call.ts";
import { CallQueue, type Ticket } from "./call-queue.ts";
import type { Links } from "./cost-model.ts";
import { type Decider, decideCall } from "./decide.ts";
import { PeerError } from "./errors.ts";
import type { AnnouncedCall, GroupReply, GroupTask } from "./group-thread.ts";
import type { TransportSpec } from "./open-transport.ts";
import { checkPlace, type SharedBuffer } from "./transport.ts";

export interface GroupOptions {
  readonly rank: number;
  readonly size: number;
  readonly transport: TransportSpec;
  /** The memory that collectives work on. */
  readonly heap: Heap;
  /** How long a rank may be silent; default 120 000. */
  readonly stallMs?: number;
  /** The most bytes of a message; default 512 KiB over tcp, else 256 KiB. */
  readonly segmentBytes?: number;
  /** What `auto` decides by, the same on all ranks; default: typical values of the transport. */
  readonly links?: Links;
}

type Details = Omit<CallOptions, "collective" | "address" | "count" | "output">;

/** A call that is ready to be started again and again, by any thread that has the queue. */
export interface PreparedCollective {
  readonly id: number;
  /** What this rank sends, or in shared memory what others read of it. */
  readonly bytes: number;
  start(): Ticket;
}

/**
 * @example
 * const group = await Group.open({ rank, size, heap, transport: { kind: "unix", addresses } });
 * const ticket = group.allReduce(gradients, count, { op: "mean", wire: "bf16", name: "bucket 0" });
 * group.wait(ticket); // or: await group.done(ticket)
 * await group.close();
 */
export class Group {
  readonly rank: number;
  readonly size: number;
  /** For other threads of the process: `new CallQueue(heap, address)` starts and awaits prepared calls there. */
  readonly queue: CallQueue;
  /** Of a transport `shared` with `bufferBytes`: tensors in this part of the heap are reduced where they are. */
  readonly buffer: SharedBuffer | undefined;
  readonly #heap: Heap;
  readonly #decider: Decider;
  readonly #calls: MessagePort;
  readonly #ended: Promise<void>;
  #ids = 0;
  #closed: Promise<void> | undefined;

  private constructor(
    { rank, size, heap }: GroupOptions,
    inside: { queue: CallQueue; buffer?: SharedBuffer; decider: Decider; calls: MessagePort; ended: Promise<void> },
  ) {
    this.rank = rank;
    this.size = size;
    this.#heap = heap;
    this.queue = inside.queue;
    this.buffer = inside.buffer;
    this.#decider = inside.decider;
    this.#calls = inside.calls;
    this.#ended = inside.ended;
  }

  /** Resolves when all ranks have come. @throws PeerError that names one which did not */
  static async open(options: GroupOptions): Promise<Group> {
    const { rank, size, transport, heap, ...rest } = options;
    checkPlace(rank, size);
    const queue = CallQueue.create(heap);
    const { port1: calls, port2 } = new MessageChannel();
    calls.unref();
    const task: GroupTask = { memory: heap.memory, rank, size, transport, queue: queue.address, calls: port2, ...rest };
    const worker = new Worker(moduleUrl(import.meta.url, "./group-thread"), {
      name: "collectives",
      workerData: task,
      transferList: [port2],
    });
    const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    worker.on("error", (error) => queue.fail(error as Error));
    const reply = await new Promise<GroupReply>((resolve) => {
      worker.once("message", resolve);
      worker.once("error", ({ name, message }: Error) => resolve({ type: "failed", name, message }));
    });
    if (reply.type === "failed") {
      await ended;
      calls.close();
      heap.free(queue.address);
      throw reply.rank === undefined ? new Error(reply.message) : new PeerError(reply.rank, reply.message);
    }
    void ended.then(() => queue.fail(new Error("the communication thread has ended")));
    const { links, shared, buffer } = reply;
    const decider = { size, links, shared };
    return new Group(options, { queue, decider, calls, ended, ...(buffer === undefined ? {} : { buffer }) });
  }

  /** Checks a call and makes it ready. All ranks start the same calls in the same order. @throws RangeError */
  prepare(options: CallOptions): PreparedCollective {
    const { id, call } = this.#announce(options, false);
    return {
      id,
      bytes: sentBytes(call, this),
      start: () => {
        this.#throwIfClosed();
        return this.queue.start(id);
      },
    };
  }

  /**
   * Sum, mean or maximum over the ranks of `count` f32 numbers, in place. This and the next ones make a call ready each time,
   * which takes some tens of microseconds; what is done in every step should be prepared.
   */
  allReduce(address: number, count: number, details: Details = {}): Ticket {
    return this.#start({ collective: "all-reduce", address, count, ...details });
  }

  /** As `allReduce`, but only part `rank` of the buffer (`partOf`) is complete afterwards; the others are used up. */
  reduceScatter(address: number, count: number, details: Details = {}): Ticket {
    return this.#start({ collective: "reduce-scatter", address, count, ...details });
  }

  /** Part `rank` (`partOf`) of the buffer goes to all. */
  allGather(address: number, count: number, details: Details = {}): Ticket {
    return this.#start({ collective: "all-gather", address, count, ...details });
  }

  /** The buffer of `root` goes to all. */
  broadcast(address: number, count: number, details: Details = {}): Ticket {
    return this.#start({ collective: "broadcast", address, count, ...details });
  }

  /** Block i of the buffer goes to rank i; `output` gets a block of each rank. */
  allToAll(address: number, output: number, count: number, details: Details = {}): Ticket {
    return this.#start({ collective: "all-to-all", address, output, count, ...details });
  }

  /** Done when all ranks have started it. */
  barrier(name = ""): Ticket {
    return this.#start({ collective: "barrier", name });
  }

  /** Blocks this thread. @throws PeerError that names a rank which failed */
  wait(ticket: Ticket): void {
    this.#throwIfClosed();
    this.queue.wait(ticket);
  }

  async done(ticket: Ticket): Promise<void> {
    this.#throwIfClosed();
    await this.queue.done(ticket);
  }

  /** Leaves after the calls that were started. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.queue.close();
    await this.#ended;
    this.#calls.close();
    this.#heap.free(this.queue.address);
  }

  #announce(options: CallOptions, once: boolean): { readonly id: number; readonly call: DecidedCall } {
    this.#throwIfClosed();
    const call = decideCall(options, this.#decider);
    const id = this.#ids++;
    this.#calls.postMessage({ id, call, once } satisfies AnnouncedCall);
    return { id, call };
  }

  #start(options: CallOptions): Ticket {
    return this.queue.start(this.#announce(options, true).id);
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw new Error("the group is closed; no collective can follow");
  }
}
