// Collectives in the calling thread: each call blocks until this rank is done. For threads of their own (`Group` puts one
// behind a queue), tests and measurements.
import type { Heap } from "../memory/index.ts";
import { noteOf } from "./agreement.ts";
import { type CallOptions, describeCall, elementBytes, scheduleOf } from "./call.ts";
import { type Links, typicalLinks } from "./cost-model.ts";
import { decideCall } from "./decide.ts";
import { Executor, type PreparedCall } from "./executor.ts";
import type { SharedBuffer, Transport } from "./transport.ts";

export interface CommunicatorOptions {
  readonly transport: Transport;
  readonly heap: Heap;
  /** What `auto` decides by; the same on all ranks. Default: typical ones of the transport, all ranks near. */
  readonly links?: Links;
  /** The most bytes of a message; default 256 KiB, or a piece of the transport where that is more. */
  readonly segmentBytes?: number;
}

/** Long enough that a message's cost disappears, short enough to stay in the cache until it is reduced. */
const SEGMENT_BYTES = 2 ** 18;

export class Communicator {
  readonly rank: number;
  readonly size: number;
  /** What `auto` decides by. */
  readonly links: Links;
  /** Tensors in this part of the heap are reduced where they are; undefined where that is all or nothing of it. */
  readonly buffer: SharedBuffer | undefined;
  readonly #transport: Transport;
  readonly #executor: Executor;
  readonly #segmentBytes: number;
  #failure: Error | undefined;
  #closed = false;

  constructor({ transport, heap, links, segmentBytes }: CommunicatorOptions) {
    const most = segmentBytes ?? Math.max(SEGMENT_BYTES, transport.pieceBytes);
    if (!Number.isInteger(most) || most < 8 || most % 8 !== 0) {
      throw new RangeError(`segmentBytes must be a positive multiple of 8, got ${most}`);
    }
    this.#transport = transport;
    this.rank = transport.rank;
    this.buffer = transport.buffer;
    this.size = transport.size;
    this.#executor = new Executor(transport, heap);
    this.links = links ?? { ...(typicalLinks[transport.name] ?? typicalLinks.tcp!), groupSize: transport.size };
    this.#segmentBytes = most;
  }

  /** Checks a call and decides how it is done, for `run`, which may repeat it. @throws RangeError for wrong options */
  prepare(options: CallOptions): PreparedCall {
    const shared = this.#transport.shared !== undefined;
    const call = decideCall(options, { size: this.size, links: this.links, shared });
    const place = { rank: this.rank, size: this.size };
    const schedule = scheduleOf(call, place, Math.floor(this.#segmentBytes / elementBytes[call.dtype]));
    return { call, schedule, note: noteOf(describeCall(call)) };
  }

  /**
   * @throws PeerError that names the rank that failed, and the call. The communicator is of no use afterwards: later calls
   * throw the same error.
   */
  run(prepared: PreparedCall): void {
    if (this.#closed) throw new Error(`${prepared.call.collective}: the group is closed`);
    if (this.#failure !== undefined) throw this.#failure;
    try {
      this.#executor.run(prepared);
    } catch (cause) {
      const error = cause as Error;
      error.message = `${describeCall(prepared.call)}, call ${this.#executor.calls} of rank ${this.rank}: ${error.message}`;
      this.#failure = error;
      this.#transport.fail(error);
      throw error;
    }
  }

  /** Prepares and runs. */
  call(options: CallOptions): void {
    this.run(this.prepare(options));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#transport.close();
    this.#executor.free();
  }
}
