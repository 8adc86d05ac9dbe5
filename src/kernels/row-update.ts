// Code for row updates: one update rule over rows of a sparse table, addressed by handle. Rows of the usual sizes are
// unrolled completely; the means over a row come first, then the elements, then the slots that a row has once.
import type { AddressType } from "../memory/index.ts";
import { Accumulators } from "./accumulate.ts";
import { Graph, type NodeId, type OperandUse } from "./graph.ts";
import { type Address, LaneEmitter, unrollOf } from "./lanes.ts";
import { overLanes } from "./loops.ts";
import { Lowering } from "./lower.ts";
import type { RowUpdateKernel } from "./spec.ts";
import { checkRowUpdate } from "./validate.ts";
import { FunctionBuilder, simd, valueType } from "./wasm.ts";

/** Vectors of a row up to which there is no loop over the row. */
const MAX_UNROLLED_VECTORS = 16;
const HANDLES = 0;
const GRADIENTS = 1;
const COUNT = 2;
const SCALARS = 3;

const PER_CALL: OperandUse = { varies: false, level: 0 };
const PER_ROW: OperandUse = { varies: false, level: 1 };
const PER_LANE: OperandUse = { varies: true, level: 1 };

const f32At = (pointer: number, offset: number): Address => ({ pointer, offset, bytes: 4 });

export function rowUpdateFunction(kernel: RowUpdateKernel, addressType: AddressType): FunctionBuilder {
  checkRowUpdate(kernel);
  const { rule, dim, weightOffset, slotOffsets, gradientStride = dim } = kernel;
  const { slots, scalars } = rule;
  const fn = new FunctionBuilder(SCALARS + scalars.length, addressType);
  const row = fn.address();

  const addresses = [
    f32At(row, weightOffset),
    f32At(GRADIENTS, 0),
    ...slotOffsets.map((offset) => f32At(row, offset)),
    ...scalars.map((_, i) => f32At(SCALARS + i, 0)),
  ];
  const uses = [
    PER_LANE,
    PER_LANE,
    ...slots.map(({ perRow }) => (perRow ? PER_ROW : PER_LANE)),
    ...scalars.map(() => PER_CALL),
  ];
  const graph = new Graph(uses);
  const lowering = new Lowering(
    graph,
    uses.map(() => "f32"),
  );
  const roots = [rule.weight, ...rule.state].map((expr) => lowering.lower(expr));
  for (const [i, { name, perRow }] of slots.entries()) {
    if (perRow && graph.nodes[roots[i + 1]!]!.varies) {
      throw new Error(
        `slot "${name}" has one value a row, but its update differs between elements: take the rowMean of what differs`,
      );
    }
  }

  const vectors = Math.ceil(dim / 4);
  const overRow = (
    computed: readonly NodeId[],
    unroll: number,
    body: (offset: number, lanes: number) => void,
  ): void => {
    const step = (elements: number): void => {
      fn.increment(row, 4 * elements);
      fn.increment(GRADIENTS, 4 * elements);
    };
    const turn = (offsets: readonly number[], count: number): void => lanes.turn(computed, offsets, count);
    step(-overLanes(fn, dim, vectors <= MAX_UNROLLED_VECTORS ? vectors : unroll, step, body, turn));
  };

  const rowMean = (x: NodeId): void => {
    const sums = new Accumulators(fn, "sum", Math.min(4, vectors));
    const value = fn.local(valueType.v128);
    sums.clear();
    overRow([x], sums.locals.length, (offset, count) => {
      lanes.vector(offset, count);
      sums.add((offset / 4) % sums.locals.length, count, () => lanes.push(x));
    });
    sums.pushCombined();
    fn.set(value);
    sums.acrossLanes(value);
    fn.get(value);
    lanes.push(graph.f32(1 / dim));
    fn.simd(simd.mul);
  };
  const lanes: LaneEmitter = new LaneEmitter(fn, graph, roots, {
    address: (operand) => addresses[operand]!,
    rowMean,
  });
  const values = roots.map(() => fn.local(valueType.v128));
  const perRow = (i: number): boolean => i > 0 && slots[i - 1]!.perRow === true;
  const write = (which: (i: number) => boolean, offset: number, count: number): void => {
    const written = roots.map((_, i) => i).filter(which);
    for (const i of written) {
      lanes.push(roots[i]!);
      fn.set(values[i]!);
    }
    for (const i of written) {
      const { pointer, offset: start } = addresses[i === 0 ? 0 : i + 1]!;
      fn.store(pointer, start + 4 * offset, count, values[i]!, 4);
    }
  };

  fn.block(() => {
    fn.leaveIfZero(COUNT);
    lanes.enter(0);
    fn.countDown(COUNT, () => {
      fn.block(() => {
        fn.loadHandle(HANDLES, row);
        fn.leaveIfZero(row);
        lanes.enter(1);
        overRow(
          roots.filter((_, i) => !perRow(i)),
          unrollOf(lanes.costOf()),
          (offset, count) => {
            lanes.vector(offset, count);
            write((i) => !perRow(i), offset, count);
          },
        );
        lanes.turn([], [0], 1);
        write(perRow, 0, 1);
      });
      fn.increment(HANDLES, 4);
      fn.increment(GRADIENTS, 4 * gradientStride);
    });
  });
  return fn;
}
