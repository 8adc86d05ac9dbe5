// What changes from step to step beside the data: rates, bias corrections, the scales of losses and gradients, the random seed.

import { scalarAt } from "../optim/rule.ts";
import { MERGE_SCALE, UNSCALE } from "../program/index.ts";
import { address, type Bound, heap, thread } from "./bound-plans.ts";
import { COMPRESSED } from "./collective/dgc-rule.ts";
import type { LossScale } from "./loss-scale.ts";
import type { FlushRequest, TrainRequest } from "./protocol.ts";
import { LOSS_SCALE } from "./tasks.ts";

const SCALED_LOSS = `scalar:${LOSS_SCALE}`;
const RANK = "scalar:rank";
const MERGED = `scalar:${MERGE_SCALE}`;
const COMPRESSES = `scalar:${COMPRESSED}`;

/** Writes these inputs of a plan, for a step and the weight of its rows. */
export function stepInputs(
  bound: Bound,
  request: TrainRequest | FlushRequest,
  scale: LossScale | undefined,
): (step: number, weight: number) => void {
  const has = (name: string): boolean => bound.prepared.plan.inputs[name] !== undefined;
  const cell = (name: string): Float32Array => heap.f32(address(bound, "inputs", name), 1);
  const scalars = request.scalars
    .filter(({ input }) => has(input))
    .map(({ input, scalar, optimizer }) => ({ cell: cell(input), scalar, optimizer }));
  const lossScale = has(SCALED_LOSS) ? cell(SCALED_LOSS) : undefined;
  const unscale = has(UNSCALE) ? cell(UNSCALE) : undefined;
  const mergeScale = has(MERGED) ? cell(MERGED) : undefined;
  const batch = request.merge?.batch ?? request.exchange?.batch ?? 0;
  const { workers = 1, rank } = request;
  const rankCell = has(RANK) ? cell(RANK) : undefined;
  const compressed = has(COMPRESSES) ? cell(COMPRESSES) : undefined;
  const begin = request.exchange?.dgc?.schedule.rampupBegin ?? 0;
  const seed = has("seed") ? heap.u32(address(bound, "inputs", "seed"), 1) : undefined;
  return (step, weight) => {
    for (const { cell, scalar, optimizer } of scalars) cell[0] = scalarAt(optimizer, scalar, step * workers);
    if (rankCell !== undefined) rankCell[0] = rank;
    if (compressed !== undefined) compressed[0] = step < begin ? 0 : 1;
    if (lossScale !== undefined) lossScale[0] = weight > 0 ? (scale?.scale ?? 1) / weight : 0;
    if (unscale !== undefined) unscale[0] = 1 / scale!.scale;
    if (mergeScale !== undefined) mergeScale[0] = weight > 0 ? batch / weight : 0;
    // Threads of mode `sync` share a step, and workers do, so both are part of the seed.
    if (seed !== undefined) {
      const own = Math.imul(thread, 0xc2b2ae35) ^ Math.imul(rank, 0x27d4eb2f);
      seed[0] = Math.imul(request.seed + Math.imul(step, 0x9e3779b1), 0x85ebca6b) ^ own;
    }
  };
}
