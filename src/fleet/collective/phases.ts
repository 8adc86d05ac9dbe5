// What runs after the step of a rank: what its threads have is summed, exchanged with the other ranks, and applied.
import { usesOf } from "../../passes/index.ts";
import { type Bucket, type DeferredUpdates, type Program, ProgramBuilder } from "../../program/index.ts";
import { shares } from "../update-phases.ts";

export interface ExchangePhases {
  readonly threads: number;
  readonly buckets: readonly Bucket[];
  /** Whether the update runs in the next step. */
  readonly late: boolean;
}

/** Parameters as they come from the other ranks. */
const byBucket = (buckets: readonly Bucket[]): string[] =>
  buckets.flatMap(({ parts }) => parts.map(({ parameter }) => parameter));

/** Parameters as a step reads them. */
function byUse({ ops, outputs, parameters }: Program): string[] {
  const { readers } = usesOf(ops, outputs);
  const placeOf = (name: string): number => readers.get(parameters[name]!.value)?.[0] ?? ops.length;
  return Object.keys(parameters).sort((a, b) => placeOf(a) - placeOf(b));
}

/**
 * A program a thread for each phase. Where the step fills the buckets itself, applying is all that is left; else threads sum
 * their shares, and the first one fills the buckets: collectives need an order that all ranks have.
 */
export function exchangePhases(
  deferred: DeferredUpdates,
  step: Program,
  { threads, buckets, late }: ExchangePhases,
): Program[][] {
  const { apply, squares, sum, fill } = deferred;
  const split = shares(deferred, step, threads);
  const order = new Map((late ? byUse(step) : byBucket(buckets)).map((name, at) => [name, at]));
  const list = split.map((share) => ({
    ...share,
    parameters: share.parameters.toSorted((a, b) => order.get(a)! - order.get(b)!),
  }));
  const idle = new ProgramBuilder().build();
  const filled = fill === undefined ? [] : [list.map((_, thread) => (thread === 0 ? fill(list) : idle))];
  return [
    ...(sum === undefined || threads === 1 ? [] : [list.map(sum)]),
    ...filled,
    ...(squares === undefined || threads === 1 ? [] : [list.map(squares)]),
    list.map(apply),
  ];
}
