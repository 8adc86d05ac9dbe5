// Code for reduce kernels. If the last dimension vanishes, several accumulators run along it and are combined at its end;
// if it stays, a block of columns is held in registers while the loops run down the rows.
import { Accumulators, addToTotals, BLOCK } from "./accumulate.ts";
import { Graph } from "./graph.ts";
import { type Address, LaneEmitter } from "./lanes.ts";
import { broadcastStrides, collapse, type Loop, nest, overLanes, Pointers, repeat } from "./loops.ts";
import { Lowering } from "./lower.ts";
import { mapFunction, unrollOf } from "./map.ts";
import { elementBytes, type ReduceKernel } from "./spec.ts";
import { checkReduce } from "./validate.ts";
import { FunctionBuilder, simd, valueType } from "./wasm.ts";

/** Vectors of a block of columns: two cache lines of each row. */
const BLOCK_VECTORS = 8;

/** What is fixed while the code of one kernel is emitted. */
interface Context {
  readonly fn: FunctionBuilder;
  readonly op: "sum" | "max";
  readonly lanes: LaneEmitter;
  readonly root: number;
  readonly pointers: Pointers;
  readonly output: number;
  /** The loops over kept dimensions and in them those over vanishing ones, without the innermost. */
  readonly kept: readonly Loop[];
  readonly reduced: readonly Loop[];
  /** The innermost loop, over lanes. */
  readonly inner: Loop;
}

const times = (strides: readonly number[], count: number): number[] => strides.map((stride) => stride * count);

/**
 * The loops over vanishing dimensions. `body` makes `additions` additions into each accumulator, flushing by itself if they
 * are more than BLOCK; here `flush` runs so often that no accumulator takes more.
 */
function reduceLoops(
  context: Context,
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

/** The last dimension vanishes. */
function reduceRows(context: Context): void {
  const { fn, op, lanes, root, pointers, output, kept, reduced, inner } = context;
  const unroll = unrollOf(lanes.cost);
  const accumulators = new Accumulators(fn, op, Math.min(unroll, Math.ceil(inner.count / 4)));
  const additions = Math.ceil(inner.count / (4 * unroll));
  const outerTurns = reduced.reduce((product, { count }) => product * count, 1);
  const long = op === "sum" && additions * outerTurns > BLOCK;
  const value = fn.local(valueType.v128);
  const total = fn.local(valueType.v128);
  const flush = (): void => {
    if (!long) return;
    accumulators.pushCombined();
    fn.set(value);
    addToTotals(fn, value, total, total);
    accumulators.clear();
  };
  const run = (length: number): number =>
    overLanes(
      fn,
      length,
      unroll,
      (elements) => pointers.move(times(inner.strides, elements)),
      (offset, count) => {
        lanes.vector(offset, count);
        accumulators.add((offset / 4) % accumulators.locals.length, count, () => lanes.push(root));
      },
    );
  nest(
    fn,
    kept,
    pointers,
    (loop) => lanes.enter(loop + 1),
    () => {
      accumulators.clear();
      if (long) {
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
      if (long) {
        fn.sumOfF64Lanes(total);
        fn.set(value);
      } else {
        accumulators.pushCombined();
        fn.set(value);
        accumulators.acrossLanes(value);
      }
      fn.store(output, 0, 1, value, 4);
      return moved;
    },
  );
}

/** The last dimension stays. */
function reduceColumns(context: Context): void {
  const { fn, op, lanes, root, pointers, output, kept, reduced, inner } = context;
  const rows = reduced.reduce((product, { count }) => product * count, 1);
  const long = op === "sum" && rows > BLOCK;
  const vectors = Math.ceil(inner.count / 4);
  const width = Math.min(BLOCK_VECTORS, vectors);
  const accumulators = new Accumulators(fn, op, width);
  const totals = Array.from({ length: long ? 2 * width : 0 }, () => fn.local(valueType.v128));

  /** Reduces `columns` columns, the pointers being at the first; returns how far the loops move them. */
  const block = (columns: number): readonly number[] => {
    const used = accumulators.locals.slice(0, Math.ceil(columns / 4));
    const flush = (): void => {
      if (!long) return;
      for (const [i, local] of used.entries()) addToTotals(fn, local, totals[2 * i]!, totals[2 * i + 1]!);
      accumulators.clear();
    };
    accumulators.clear();
    for (const local of totals) {
      fn.constant([0, 0, 0, 0]);
      fn.set(local);
    }
    const moved = reduceLoops(context, 1, flush, () => {
      for (const i of used.keys()) {
        lanes.vector(4 * i, Math.min(4, columns - 4 * i));
        accumulators.add(i, 4, () => lanes.push(root));
      }
      return times(inner.strides, 0);
    });
    for (const [i, local] of used.entries()) {
      if (long) {
        for (const total of [totals[2 * i]!, totals[2 * i + 1]!]) {
          fn.get(total);
          fn.simd(simd.demoteZero);
        }
        fn.shuffle([0, 1, 4, 5]);
        fn.set(local);
      }
      fn.store(output, 16 * i, Math.min(4, columns - 4 * i), local, 4);
    }
    return moved;
  };

  const columns = 4 * width;
  const blocks = Math.floor(inner.count / columns);
  nest(
    fn,
    kept,
    pointers,
    (loop) => lanes.enter(loop + 1),
    () => {
      if (blocks > 0) {
        repeat(fn, blocks, () => {
          const moved = block(columns);
          pointers.move(inner.strides.map((stride, operand) => stride * columns - moved[operand]!));
        });
      }
      const rest = inner.count - blocks * columns;
      const moved = rest > 0 ? block(rest) : times(inner.strides, 0);
      return moved.map((distance, operand) => distance + inner.strides[operand]! * columns * blocks);
    },
  );
}

export function reduceFunction(kernel: ReduceKernel): FunctionBuilder {
  checkReduce(kernel);
  const { expr, shape, inputs, axes, op } = kernel;
  if (axes.every((axis) => shape[axis] === 1)) return mapFunction({ type: "map", exprs: [expr], shape, inputs });
  const output = inputs.length;
  const remaining = shape.filter((_, axis) => !axes.includes(axis));
  if (shape.includes(0)) {
    const identity = { op: "const", value: op === "sum" ? 0 : -Infinity } as const;
    const unread = inputs.map((input) => ({ ...input, shape: [] }));
    return mapFunction({ type: "map", exprs: [identity], shape: remaining, inputs: unread });
  }
  const fn = new FunctionBuilder(inputs.length + 1);
  const counter = fn.local(valueType.i32);
  const outputShape = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const operands = [
    ...inputs.map((input) => broadcastStrides(input.shape, shape)),
    broadcastStrides(outputShape, shape),
    broadcastStrides(shape, shape),
  ];
  const loops = collapse(shape, operands, axes);
  const inner = loops.at(-1)!;
  const outer = loops.slice(0, -1);
  const kept = outer.filter((loop) => !loop.reduced);
  const reduced = outer.filter((loop) => loop.reduced);
  const order = [...kept, ...reduced];

  const graph = new Graph(
    inputs.map((_, i) => ({
      varies: inner.strides[i] !== 0,
      level: 1 + order.findLastIndex(({ strides }) => strides[i] !== 0),
    })),
    order.length + 1,
  );
  const root = new Lowering(
    graph,
    inputs.map(({ dtype = "f32" }) => dtype),
  ).lower(expr);
  const widths = inputs.map(({ dtype = "f32" }) => elementBytes[dtype]);
  const address = (pointer: number): Address => ({ pointer, offset: 0, bytes: widths[pointer]! });
  const lanes = new LaneEmitter(fn, graph, [root], { address, counter });
  const pointers = new Pointers(fn, [...inputs.keys(), output, counter], [...widths, elementBytes.f32, 1]);
  lanes.enter(0);
  const context = { fn, op, lanes, root, pointers, output, kept, reduced, inner };
  if (inner.reduced) reduceRows(context);
  else reduceColumns(context);
  return fn;
}
