// Deep gradient compression (arXiv 1712.01887) in a trainer thread: buckets whose gradients go as the largest of what has
// gathered on each rank, with what was learnt of momentum before it was sent.
import { SparseCodec } from "../../collective/compression.ts";
import type { FloatType } from "../../kernels/half.ts";
import type { Heap } from "../../memory/index.ts";

/** When which share of the gradients stays behind. */
export interface SparsitySchedule {
  /** Steps before which gradients are summed whole. */
  readonly rampupBegin: number;
  /** Steps over which the stages of `sparsity` follow each other. */
  readonly rampupSteps: number;
  readonly sparsity: readonly number[];
}

export interface DgcPart {
  /** Elements of the bucket before it, and its own. */
  readonly offset: number;
  readonly count: number;
  /** Address of the parameter. */
  readonly weight: number;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
  /** By stage: how many elements are sent, and where they begin in a message, in bytes. */
  readonly kept: readonly number[];
  readonly places: readonly number[];
}

export interface DgcBucket {
  /** Addresses: the bucket, momentum u and rest v of its elements, the messages of all ranks. */
  readonly address: number;
  readonly momentum: number;
  readonly rest: number;
  readonly messages: number;
  readonly length: number;
  readonly parts: readonly DgcPart[];
  /** By stage: the all-gather of messages, and the bytes of one. */
  readonly gathers: readonly number[];
  readonly messageBytes: readonly number[];
}

export interface DgcHandle {
  readonly ranks: number;
  readonly rank: number;
  readonly schedule: SparsitySchedule;
  readonly wire: FloatType;
  /** The most that the norm of a parameter's gradient may be, on this rank. */
  readonly localNorm?: number;
  /** What losses are divided by. */
  readonly batch: number;
  /** Address of a float64: the step. */
  readonly step: number;
  readonly codec: { readonly address: number; readonly count: number; readonly kept: number };
  /** By name. */
  readonly buckets: Readonly<Record<string, DgcBucket>>;
}

/** Which sparsity a step has; −1 before any. @param step counted from 0 */
export function stageOf({ rampupBegin, rampupSteps, sparsity }: SparsitySchedule, step: number): number {
  if (step < rampupBegin) return -1;
  return Math.min(sparsity.length - 1, Math.floor(((step - rampupBegin) * sparsity.length) / rampupSteps));
}

/** As in PyTorch: gradients that are all 0 stay so. */
const GUARD = 1e-6;

export class Dgc {
  readonly #handle: DgcHandle;
  readonly #codec: SparseCodec;
  readonly #step: Float64Array;

  constructor(heap: Heap, handle: DgcHandle) {
    this.#handle = handle;
    const { address, ...most } = handle.codec;
    this.#codec = new SparseCodec(heap, handle.wire, address, most);
    this.#step = heap.f64(handle.step, 1);
  }

  bucket(name: string): DgcBucket | undefined {
    return this.#handle.buckets[name];
  }

  /** Of the step that is under way. */
  get stage(): number {
    return stageOf(this.#handle.schedule, this.#step[0]!);
  }

  /** Adds this rank's gradients to what has gathered, and writes the largest of that as its message. @param weight of all ranks' rows */
  compress(bucket: DgcBucket, stage: number, weight: number): void {
    const { kernels } = this.#codec;
    const { rank, ranks, batch, localNorm } = this.#handle;
    // Gradients as if this rank's rows were all: their mean over the ranks is the gradient of the union.
    const own = (ranks * batch) / weight;
    const message = bucket.messages + rank * bucket.messageBytes[stage]!;
    for (let i = 0; i < bucket.parts.length; i++) {
      const { offset, count, weight: w, momentum, nesterov, weightDecay, kept, places } = bucket.parts[i]!;
      const [g, u, v] = [bucket.address + 4 * offset, bucket.momentum + 4 * offset, bucket.rest + 4 * offset];
      let scale = own;
      if (localNorm !== undefined) {
        const norm = own * Math.sqrt(kernels.sumOfSquares(g, count));
        scale *= Math.min(1, localNorm / (norm + GUARD));
      }
      kernels.accumulate(g, w, u, v, count, scale, momentum, weightDecay, nesterov ? 1 : 0);
      this.#codec.take(v, u, count, kept[stage]!, message + places[stage]!);
    }
  }

  /** Puts the sum of all ranks' messages into the bucket, scaled as sums of whole gradients are. */
  restore(bucket: DgcBucket, stage: number, weight: number): void {
    const { ranks, batch } = this.#handle;
    const factor = weight / (ranks * batch);
    this.#codec.kernels.clear(bucket.address, bucket.length);
    for (let rank = 0; rank < ranks; rank++) {
      const message = bucket.messages + rank * bucket.messageBytes[stage]!;
      for (let i = 0; i < bucket.parts.length; i++) {
        const { offset, count, kept, places } = bucket.parts[i]!;
        const whole = bucket.address + 4 * offset;
        if (this.#codec.add(whole, count, kept[stage]!, message + places[stage]!, factor)) continue;
        throw new Error(`dgc: what rank ${rank} sent for part ${i} of a bucket is not a part of it`);
      }
    }
  }
}
