// Where a trainer thread takes its batches from: the readers' queue, or what a communicator has prepared.
import type { PipelineHandle } from "../data/index.ts";
import { BatchQueue, INTERRUPTED } from "../data/queue.ts";
import type { Heap } from "../memory/index.ts";
import type { PreparedLayout } from "../ps/worker/index.ts";
// Trainer threads load no more than they need: the rest of the folder brings the network.
import { HEADER_ROWS, HEADER_SEQUENCE, HEADER_WEIGHT, Ring, type RingHandle } from "../ps/worker/slots.ts";

/** Prepared batches, and where the rows of their ids lie. */
export interface PreparedSource {
  readonly ring: RingHandle;
  readonly layout: PreparedLayout;
  /** Inputs u32 of the plan that are row handles, in the order of the layout's look-ups, and handles of no row. */
  readonly inputs: readonly { readonly input: string; readonly zeroRow: number }[];
}

/** As plain data, by thread. */
export interface BatchSource {
  readonly pipeline: PipelineHandle;
  /** Present where a communicator stands between. */
  readonly prepared?: PreparedSource | undefined;
}

/** A thread's queue of batches. */
export interface Batches {
  /** The address of the next batch's columns, or as `BatchQueue.next`. */
  next(): number;
  /** Gives the batch back. */
  release(): void;
  readonly rows: number;
  readonly weight: number;
  readonly sequence: number;
}

export function attachBatches(heap: Heap, { pipeline, prepared }: BatchSource, thread: number): Batches {
  if (prepared === undefined) return BatchQueue.attach(heap, pipeline, thread);
  return new PreparedBatches(heap, prepared.ring);
}

class PreparedBatches implements Batches {
  readonly #ring: Ring;
  #header: Float64Array = new Float64Array(3);

  constructor(heap: Heap, handle: RingHandle) {
    this.#ring = Ring.attach(heap, handle, "empty");
  }

  next(): number {
    const found = this.#ring.waitFilled();
    if (found !== 1) return found === 0 ? 0 : INTERRUPTED;
    const slot = this.#ring.begin();
    this.#header = this.#ring.header(slot);
    return this.#ring.address(slot);
  }

  release(): void {
    this.#ring.empty();
  }

  get rows(): number {
    return this.#header[HEADER_ROWS]!;
  }

  get weight(): number {
    return this.#header[HEADER_WEIGHT]!;
  }

  get sequence(): number {
    return this.#header[HEADER_SEQUENCE]!;
  }
}
