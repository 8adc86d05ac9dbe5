// Reductions whose last dimension stays. Memory is read in order: the loops over columns run within those over rows, which
// come in small groups, so that each column's totals are touched once a group. Sums of many rows have float64 totals in
// scratch memory, so that the rounding error does not grow with the number of rows; others have theirs in the output.
import { BLOCK, combineOp, pushIdentity } from "./accumulate.ts";
import { type Loop, nest, overLanes, repeat, times } from "./loops.ts";
import type { ReduceContext } from "./reduce.ts";
import { simd, valueType } from "./wasm.ts";

/** Rows of a group, and the instructions for a vector of each of them up to which there are so many. */
const MAX_GROUP_ROWS = 8;
const MIN_GROUP_ROWS = 4;
const GROUP_BUDGET = 32;
/** Instructions of a turn of the loop over columns, and its vectors, at most. */
const TURN_BUDGET = 64;
const MAX_UNROLL = 4;
export const F64_BYTES = 8;

const paddedCount = (inner: Loop): number => 4 * Math.ceil(inner.count / 4);

/** Bytes of the float64 totals. */
export function columnScratch(op: "sum" | "max", outputs: number, reduced: readonly Loop[], inner: Loop): number {
  const rows = reduced.reduce((product, { count }) => product * count, 1);
  return op === "max" || rows <= BLOCK ? 0 : F64_BYTES * paddedCount(inner) * outputs;
}

export function reduceColumns(context: ReduceContext): void {
  const { fn, op, lanes, roots, pointers, outputs, scratch, kept, reduced, inner } = context;
  const rows = reduced.at(-1)!;
  const cost = lanes.costOf();
  const groupRows = Math.min(rows.count, MAX_GROUP_ROWS, Math.max(MIN_GROUP_ROWS, Math.floor(GROUP_BUDGET / cost)));
  const oneGroup = reduced.length === 1 && rows.count === groupRows;
  const inScratch = columnScratch(op, outputs.length, reduced, inner) > 0;
  const sums = roots.map(() => fn.local(valueType.v128));
  const value = fn.local(valueType.v128);
  const totalAt = (output: number, offset: number): number => F64_BYTES * (paddedCount(inner) * output + offset);

  const addToScratch = (output: number, offset: number): void => {
    for (const half of [0, 1]) {
      const at = totalAt(output, offset) + 16 * half;
      fn.load(scratch, at, 4, 4);
      fn.get(sums[output]!);
      if (half === 1) {
        fn.get(sums[output]!);
        fn.shuffle([2, 3, 0, 1]);
      }
      fn.simd(simd.promoteLow);
      fn.simd(simd.f64Add);
      fn.set(value);
      fn.store(scratch, at, 4, value, 4);
    }
  };
  const addToOutput = (output: number, offset: number, count: number): void => {
    const sum = sums[output]!;
    if (!oneGroup) {
      fn.load(outputs[output]!, 4 * offset, count, 4);
      fn.get(sum);
      fn.simd(combineOp[op]);
      fn.set(sum);
    }
    fn.store(outputs[output]!, 4 * offset, count, sum, 4);
  };

  const overColumns = (unroll: number, body: (offset: number, count: number) => void): void => {
    const step = (elements: number): void => pointers.move(times(inner.strides, elements));
    step(-overLanes(fn, inner.count, unroll, step, body));
  };

  /** Adds `count` rows to the totals of all columns. */
  const group = (count: number): void => {
    const unroll = Math.max(1, Math.min(MAX_UNROLL, Math.floor(TURN_BUDGET / (cost * count))));
    overColumns(unroll, (offset, width) => {
      lanes.turn(roots, [offset], width, count);
      for (let row = 0; row < count; row++) {
        lanes.vector(offset, width, row);
        for (const [output, root] of roots.entries()) {
          if (row > 0) fn.get(sums[output]!);
          lanes.push(root);
          if (row > 0) fn.simd(combineOp[op]);
          fn.set(sums[output]!);
        }
      }
      for (const output of roots.keys()) {
        if (inScratch) addToScratch(output, offset);
        else addToOutput(output, offset, width);
      }
    });
  };

  const clearTotals = (): void => {
    pushIdentity(fn, op);
    fn.set(value);
    overColumns(1, (offset, count) => {
      for (const [output, pointer] of outputs.entries()) {
        if (!inScratch) fn.store(pointer, 4 * offset, count, value, 4);
        else for (const half of [0, 16]) fn.store(scratch, totalAt(output, offset) + half, 4, value, 4);
      }
    });
  };
  const storeTotals = (): void => {
    overColumns(1, (offset, count) => {
      for (const [output, pointer] of outputs.entries()) {
        for (const half of [0, 16]) {
          fn.load(scratch, totalAt(output, offset) + half, 4, 4);
          fn.simd(simd.demoteZero);
        }
        fn.shuffle([0, 1, 4, 5]);
        fn.set(value);
        fn.store(pointer, 4 * offset, count, value, 4);
      }
    });
  };

  const overRows = (): readonly number[] => {
    const groups = Math.floor(rows.count / groupRows);
    repeat(fn, groups, () => {
      group(groupRows);
      pointers.move(times(rows.strides, groupRows));
    });
    if (rows.count % groupRows > 0) group(rows.count % groupRows);
    return times(rows.strides, groupRows * groups);
  };
  const enter = (loop: number): void => lanes.enter(loop + 1);
  nest(fn, kept, pointers, enter, () => {
    if (!oneGroup) clearTotals();
    const moved = nest(fn, reduced.slice(0, -1), pointers, (loop) => enter(kept.length + loop), overRows);
    if (!inScratch) return moved;
    // Back to where the totals of these columns belong.
    pointers.move(times(moved, -1));
    storeTotals();
    return times(moved, 0);
  });
}
