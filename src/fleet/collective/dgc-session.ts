// Makes deep gradient compression ready on the main thread: memory, messages by stage, and the all-gathers that bring them.

import { capacityOf, entryBytes, keptOf, SparseCodec } from "../../collective/compression.ts";
import type { CallOptions } from "../../collective/index.ts";
import type { Heap } from "../../memory/index.ts";
import type { Optimizer } from "../../optim/index.ts";
import type { Bucket } from "../../program/index.ts";
import type { ParameterStore } from "../parameters.ts";
import type { Strategy } from "../strategy.ts";
import type { DgcBucket, DgcHandle, DgcPart } from "./dgc.ts";

export interface DgcOptions {
  readonly heap: Heap;
  readonly rank: number;
  readonly ranks: number;
  readonly strategy: Strategy;
  readonly batch: number;
  readonly parameters: ParameterStore;
  readonly optimizerOf: (parameter: string) => Optimizer;
  /** Those that are compressed, and where they lie. */
  readonly buckets: readonly { readonly bucket: Bucket; readonly address: number; readonly stream: number }[];
  /** Makes a collective ready. */
  readonly prepare: (call: CallOptions, stream: number) => number;
  /** Memory that is freed with the session, and is 0. */
  readonly allocate: (bytes: number) => number;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Undefined where nothing is compressed. */
export function prepareDgc(options: DgcOptions): DgcHandle | undefined {
  const { strategy, buckets, rank, ranks, batch, allocate } = options;
  const { dgc, wire = "f32" } = strategy;
  if (dgc === undefined || buckets.length === 0) return undefined;
  const { rampupBegin, rampupSteps, sparsity, clipNorm } = dgc;
  const counts = buckets.flatMap(({ bucket }) => bucket.parts.map(({ shape }) => sizeOf(shape)));
  const count = Math.max(...counts);
  const kept = keptOf(count, Math.min(...sparsity));
  return {
    ...{ rank, ranks, wire, batch },
    schedule: { rampupBegin, rampupSteps, sparsity },
    // Paper and PaddlePaddle: so that the sum over the ranks keeps about the norm.
    ...(clipNorm === undefined ? {} : { localNorm: clipNorm / Math.sqrt(ranks) }),
    step: allocate(8),
    codec: { address: allocate(SparseCodec.bytes(count, kept)), count, kept },
    buckets: Object.fromEntries(buckets.map((each) => [each.bucket.name, bucketOf(options, sparsity, each)])),
  };
}

function bucketOf(
  { strategy: { wire = "f32" }, ranks, parameters, optimizerOf, prepare, allocate }: DgcOptions,
  sparsity: readonly number[],
  { bucket, address, stream }: DgcOptions["buckets"][number],
): DgcBucket {
  const messageBytes = sparsity.map(() => 0);
  const parts = bucket.parts.map(({ parameter, offset, shape }): DgcPart => {
    const count = sizeOf(shape);
    const kept = sparsity.map((share) => keptOf(count, share));
    const places = messageBytes.slice();
    for (const [stage, k] of kept.entries()) messageBytes[stage]! += entryBytes(capacityOf(count, k), wire);
    return { offset, count, weight: parameters.addressOf(parameter), kept, places, ...rulesOf(optimizerOf(parameter)) };
  });
  const messages = allocate(ranks * Math.max(...messageBytes));
  const gathers = messageBytes.map((bytes, stage) => {
    const name = `${bucket.name}, sparsity ${sparsity[stage]}`;
    const count = (ranks * bytes) / 4;
    return prepare({ collective: "all-gather", name, address: messages, count, dtype: "u32" }, stream);
  });
  const state = { momentum: allocate(4 * bucket.length), rest: allocate(4 * bucket.length) };
  return { address, ...state, messages, length: bucket.length, parts, gathers, messageBytes };
}

function rulesOf(optimizer: Optimizer): Pick<DgcPart, "momentum" | "nesterov" | "weightDecay"> {
  if (optimizer.name === "sgd") return { momentum: 0, nesterov: false, weightDecay: optimizer.weightDecay };
  if (optimizer.name !== "momentum") throw new Error(`dgc does not serve the optimizer ${optimizer.name}`);
  const { momentum, nesterov, weightDecay } = optimizer;
  return { momentum, nesterov, weightDecay };
}
