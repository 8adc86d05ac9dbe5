// What runs after the step of a rank: what its threads have is summed, exchanged with the other ranks, and applied.
import { type DeferredUpdates, type Program, ProgramBuilder } from "../../program/index.ts";
import { shares } from "../update-phases.ts";

/**
 * A program a thread for each phase. Where the step fills the buckets itself, applying is all that is left; else threads sum
 * their shares, and the first one fills the buckets: collectives need an order that all ranks have.
 */
export function exchangePhases(deferred: DeferredUpdates, step: Program, threads: number): Program[][] {
  const { apply, squares, sum, fill } = deferred;
  const list = shares(deferred, step, threads);
  const idle = new ProgramBuilder().build();
  const filled = fill === undefined ? [] : [list.map((_, thread) => (thread === 0 ? fill(list) : idle))];
  return [
    ...(sum === undefined || threads === 1 ? [] : [list.map(sum)]),
    ...filled,
    ...(squares === undefined || threads === 1 ? [] : [list.map(squares)]),
    list.map(apply),
  ];
}
