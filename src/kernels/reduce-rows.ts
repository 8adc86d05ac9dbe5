// Reductions whose last dimension vanishes: several accumulators run along it and are combined at its end.
import { BLOCK, RowResult } from "./accumulate.ts";
import { unrollOf } from "./lanes.ts";
import { nest, repeat, times } from "./loops.ts";
import type { ReduceContext } from "./reduce.ts";
import { additionsOf, overRow, registersOf } from "./row-walk.ts";

/**
 * The loops over vanishing dimensions. `body` makes `additions` additions into each accumulator, flushing by itself if they
 * are more than BLOCK; here `flush` runs so often that no accumulator takes more.
 */
function reduceLoops(
  context: ReduceContext,
  additions: number,
  flush: () => void,
  body: () => readonly number[],
  depth = 0,
): readonly number[] {
  const { fn, lanes, kept, reduced, pointers } = context;
  const loop = reduced[depth];
  if (!loop) return body();
  const within = reduced.slice(depth + 1).reduce((product, { count }) => product * count, additions);
  const turn = (): void => {
    lanes.enter(kept.length + depth + 1);
    const moved = reduceLoops(context, additions, flush, body, depth + 1);
    pointers.move(loop.strides.map((stride, operand) => stride - moved[operand]!));
  };
  const run = (turns: number): void => repeat(fn, turns, turn);
  if (within > BLOCK || within * loop.count <= BLOCK) {
    run(loop.count);
    return times(loop.strides, loop.count);
  }
  const turns = Math.floor(BLOCK / within);
  repeat(fn, Math.floor(loop.count / turns), () => {
    run(turns);
    flush();
  });
  if (loop.count % turns > 0) {
    run(loop.count % turns);
    flush();
  }
  return times(loop.strides, loop.count);
}

export function reduceRows(context: ReduceContext): void {
  const { fn, op, lanes, roots, pointers, outputs, kept, reduced, inner } = context;
  const unroll = unrollOf(lanes.costOf());
  const registers = registersOf(inner.count, unroll);
  const additions = additionsOf(inner.count, unroll);
  const outerTurns = reduced.reduce((product, { count }) => product * count, 1);
  const long = op === "sum" && additions * outerTurns > BLOCK;
  const results = roots.map((root) => ({ root, result: new RowResult(fn, op, registers, long) }));
  const flush = (): void => {
    for (const { result } of results) result.flush();
  };
  const step = (elements: number): void => pointers.move(times(inner.strides, elements));
  const alongRow = (): readonly number[] => {
    const turn = (offsets: readonly number[], count: number): void => lanes.turn(roots, offsets, count);
    const body = (offset: number, count: number): void => {
      lanes.vector(offset, count);
      for (const { root, result } of results) {
        result.accumulators.add((offset / 4) % registers, count, () => lanes.push(root));
      }
    };
    const moved = overRow(fn, inner.count, unroll, step, long ? flush : undefined, body, turn);
    return times(inner.strides, moved);
  };
  nest(
    fn,
    kept,
    pointers,
    (loop) => lanes.enter(loop + 1),
    () => {
      for (const { result } of results) result.start();
      const moved = reduceLoops(context, additions, flush, alongRow);
      for (const [i, { result }] of results.entries()) {
        result.finish();
        fn.store(outputs[i]!, 0, 1, result.local, 4);
      }
      return moved;
    },
  );
}
