// Reductions whose last dimension vanishes: several accumulators run along it and are combined at its end.
import { Accumulators, addToTotals, BLOCK } from "./accumulate.ts";
import { nest, overLanes, repeat, times } from "./loops.ts";
import { unrollOf } from "./map.ts";
import type { ReduceContext } from "./reduce.ts";
import { valueType } from "./wasm.ts";

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
  const unroll = unrollOf(lanes.cost);
  const registers = Math.min(unroll, Math.ceil(inner.count / 4));
  const results = roots.map((root) => ({
    root,
    accumulators: new Accumulators(fn, op, registers),
    total: fn.local(valueType.v128),
  }));
  const additions = Math.ceil(inner.count / (4 * unroll));
  const outerTurns = reduced.reduce((product, { count }) => product * count, 1);
  const long = op === "sum" && additions * outerTurns > BLOCK;
  const value = fn.local(valueType.v128);
  const flush = (): void => {
    if (!long) return;
    for (const { accumulators, total } of results) {
      accumulators.pushCombined();
      fn.set(value);
      addToTotals(fn, value, total, total);
      accumulators.clear();
    }
  };
  const run = (length: number): number =>
    overLanes(
      fn,
      length,
      unroll,
      (elements) => pointers.move(times(inner.strides, elements)),
      (offset, count) => {
        lanes.vector(offset, count);
        for (const { accumulators, root } of results) {
          accumulators.add((offset / 4) % registers, count, () => lanes.push(root));
        }
      },
    );
  nest(
    fn,
    kept,
    pointers,
    (loop) => lanes.enter(loop + 1),
    () => {
      for (const { accumulators, total } of results) {
        accumulators.clear();
        if (!long) continue;
        fn.constant([0, 0, 0, 0]);
        fn.set(total);
      }
      const moved = reduceLoops(context, additions, flush, () => {
        const block = 4 * unroll * BLOCK;
        const blocks = additions > BLOCK && long ? Math.floor(inner.count / block) : 0;
        if (blocks > 0) {
          repeat(fn, blocks, () => {
            const done = run(block);
            pointers.move(times(inner.strides, block - done));
            flush();
          });
        }
        const rest = run(inner.count - blocks * block);
        if (blocks > 0) flush();
        return times(inner.strides, blocks * block + rest);
      });
      for (const [i, { accumulators, total }] of results.entries()) {
        if (long) {
          fn.sumOfF64Lanes(total);
          fn.set(value);
        } else {
          accumulators.pushCombined();
          fn.set(value);
          accumulators.acrossLanes(value);
        }
        fn.store(outputs[i]!, 0, 1, value, 4);
      }
      return moved;
    },
  );
}
