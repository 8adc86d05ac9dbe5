// What a worker says to the partitions while it trains: pulls of prepared slots, pushes of merged gradients, dense weights.
import type { Heap } from "../../memory/index.ts";
import {
  type DensePull,
  decodeStep,
  encodePull,
  encodePush,
  type Pull,
  pullReplyOffsets,
  wireBytes,
} from "../messages.ts";
import type { DensePiece } from "../placement.ts";
import type { PartitionClient } from "../requests.ts";
import type { Outgoing } from "./outgoing.ts";
import type { DenseGradient } from "./plan.ts";
import { type Preparer, type PulledTable, putReply } from "./preparer.ts";

/** Numbers that the main thread reads while training goes on: f64 words in the heap. */
export const counters = {
  /** Bodies of requests with gradients, and what they would be if every batch were sent by itself. */
  pushedBytes: 0,
  unmergedBytes: 1,
  /** Bodies of requests for rows and weights, and of replies. */
  pulledBytes: 2,
  pulledRows: 3,
  pushedRows: 4,
  pushes: 5,
  /** The most optimizer steps that a server has told of. */
  steps: 6,
  /** Milliseconds that the sender waited for servers. */
  pushMs: 7,
  /** Milliseconds that trainer threads waited for batches with their rows, and for room for gradients, all together. */
  waitedMs: 8,
  /** Requests that are under way. */
  pushing: 9,
  pulling: 10,
} as const;
export type CounterName = keyof typeof counters;
export const COUNTER_BYTES = 128;

export interface ExchangeOptions {
  readonly heap: Heap;
  readonly clients: readonly PartitionClient[];
  /** The same partitions, for `pull`. */
  readonly ahead: readonly PartitionClient[];
  readonly definition: number;
  readonly worker: number;
  readonly pieces: readonly DensePiece[];
  readonly dense: readonly DenseGradient[];
  /** Address of the counters. */
  readonly counters: number;
}

/** Which dense values a reply brings. */
export type DenseWanted = "none" | "moved" | "all";

export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #counters: Float64Array;
  readonly #memory = new ReplyMemory();

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#counters = options.heap.f64(options.counters, COUNTER_BYTES / 8);
  }

  get steps(): number {
    return this.#counters[counters.steps]!;
  }

  /** Pulls the rows of slots, and dense weights. */
  async pull(
    preparer: Preparer | undefined,
    slots: readonly number[],
    { readOnly = false, dense = "none" }: { readonly readOnly?: boolean; readonly dense?: DenseWanted } = {},
  ): Promise<void> {
    await this.#counted("pulling", () =>
      Promise.all(
        this.#options.clients.map(async (client, partition) => {
          const request = this.#request(preparer, slots, partition, dense, readOnly);
          if (request.sections.length > 0) await this.#pull(client, request, preparer);
        }),
      ),
    );
  }

  /**
   * Pushes gradients, then pulls dense weights and the rows of slots from the same partitions.
   * @param always also to partitions for which there is nothing: they count who has pushed
   */
  async pushPull(
    outgoing: Outgoing,
    options: {
      readonly step: number;
      readonly always: boolean;
      readonly preparer?: Preparer | undefined;
      readonly slots?: readonly number[];
    },
  ): Promise<void> {
    const { definition, worker, clients } = this.#options;
    const { step, always, preparer, slots = [] } = options;
    const { samples, batches } = outgoing;
    const started = performance.now();
    const pushTo = async (client: PartitionClient, partition: number): Promise<void> => {
      const sections = outgoing.sections(partition);
      const request = this.#request(preparer, slots, partition, "moved", false);
      if (sections.length === 0 && !always) {
        if (request.sections.length > 0) await this.#pull(client, request, preparer);
        return;
      }
      const push = encodePush({ definition, worker, step, samples, batches, sections });
      this.#count("pushedBytes", bytesOf(push));
      if (!always) {
        // Two calls: the reply of one that is applied once is copied and kept. They begin in this order.
        await Promise.all([client.call("push", push), this.#pull(client, request, preparer)]);
        return;
      }
      const pull = encodePull(request);
      this.#count("pulledBytes", bytesOf(pull));
      const reply = await client.call("pushPull", [...push, ...pull]);
      if (reply.byteLength === 0) await this.#pull(client, request, preparer);
      else this.#take(request, preparer, reply);
    };
    await this.#counted("pushing", () => Promise.all(clients.map(pushTo)));
    this.#count("pushMs", performance.now() - started);
    this.#count("pushes", 1);
    this.#count("pushedRows", outgoing.rows);
    this.#count("unmergedBytes", outgoing.unmergedBytes);
  }

  async #pull(client: PartitionClient, request: Request, preparer: Preparer | undefined): Promise<void> {
    const parts = encodePull(request);
    this.#count("pulledBytes", bytesOf(parts));
    const into = this.#memory.take(pullReplyOffsets(request.sections).bytes);
    this.#take(request, preparer, await client.call("pull", parts, into));
    this.#memory.give(into);
  }

  #request(
    preparer: Preparer | undefined,
    slots: readonly number[],
    partition: number,
    dense: DenseWanted,
    readOnly: boolean,
  ): Request {
    const { definition, worker, pieces, dense: parameters } = this.#options;
    const tables = slots.flatMap((slot) => preparer!.pulls(slot, partition));
    const wanted = pieces.filter(
      (piece) =>
        piece.partition === partition &&
        (dense === "all" || (dense === "moved" && parameters[piece.dense]!.gradient >= 0)),
    );
    const sections = [
      ...tables.map(({ section }) => section),
      ...wanted.map(({ dense, length }): DensePull => ({ dense, length, wire: "f32" })),
    ];
    return { definition, worker, readOnly, sections, tables, pieces: wanted };
  }

  #take({ sections, tables, pieces }: Request, preparer: Preparer | undefined, reply: Uint8Array): void {
    this.#count("pulledBytes", reply.byteLength);
    const steps = decodeStep(reply);
    if (steps !== undefined && steps > this.steps) this.#counters[counters.steps] = steps;
    if (tables.length > 0) putReply(preparer!, tables, reply);
    for (const { section } of tables) this.#count("pulledRows", section.keys.length);
    const { offsets } = pullReplyOffsets(sections);
    for (const [i, { dense, start, length }] of pieces.entries()) {
      const at = offsets[tables.length + i]!;
      const { weights } = this.#options.dense[dense]!;
      this.#options.heap.u8(weights + 4 * start, 4 * length).set(reply.subarray(at, at + length * wireBytes.f32));
    }
  }

  /** Counts work while it is under way. */
  async #counted(name: "pushing" | "pulling", work: () => Promise<unknown>): Promise<void> {
    this.#count(name, 1);
    try {
      await work();
    } finally {
      this.#count(name, -1);
    }
  }

  #count(name: CounterName, value: number): void {
    this.#counters[counters[name]]! += value;
  }
}

interface Request extends Pull {
  readonly tables: readonly PulledTable[];
  readonly pieces: readonly DensePiece[];
}

/** Memory for replies, used again: fresh memory costs the system more than all the rest of receiving a large reply. */
class ReplyMemory {
  readonly #free: Uint8Array[] = [];

  take(bytes: number): Uint8Array {
    const found = this.#free.findIndex(({ byteLength }) => byteLength >= bytes);
    return found < 0 ? new Uint8Array(2 ** Math.ceil(Math.log2(bytes))) : this.#free.splice(found, 1)[0]!;
  }

  give(memory: Uint8Array): void {
    this.#free.push(memory);
    this.#free.sort((a, b) => a.byteLength - b.byteLength);
    if (this.#free.length > MAX_FREE) this.#free.shift();
  }
}

const MAX_FREE = 32;

const bytesOf = (parts: readonly Uint8Array[]): number => parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
