// Code for reduce kernels: the loops over the collapsed dimensions, kept ones outside of vanishing ones. How the innermost
// is walked depends on whether it vanishes: reduce-rows.ts and reduce-columns.ts.
import type { AddressType } from "../memory/index.ts";
import type { ReduceOp } from "./accumulate.ts";
import { Counters, usesIn } from "./counters.ts";
import { Graph } from "./graph.ts";
import { type Address, LaneEmitter } from "./lanes.ts";
import { broadcastStrides, collapse, type Loop, Pointers } from "./loops.ts";
import { Lowering } from "./lower.ts";
import { mapFunction } from "./map.ts";
import { columnScratch, F64_BYTES, reduceColumns } from "./reduce-columns.ts";
import { reduceRows } from "./reduce-rows.ts";
import { shortRowsFunction, shortRowsOf } from "./short-rows.ts";
import { elementBytes, type MapKernel, type ReduceKernel, type RowsKernel } from "./spec.ts";
import { checkReduce } from "./validate.ts";
import { FunctionBuilder } from "./wasm.ts";

/** What is fixed while the code of one kernel is emitted. */
export interface ReduceContext {
  readonly fn: FunctionBuilder;
  readonly op: ReduceOp;
  readonly lanes: LaneEmitter;
  readonly roots: readonly number[];
  readonly pointers: Pointers;
  /** Locals of the pointers to the outputs and to the scratch memory. */
  readonly outputs: readonly number[];
  readonly scratch: number;
  /** The loops over kept dimensions and in them those over vanishing ones, without the innermost. */
  readonly kept: readonly Loop[];
  readonly reduced: readonly Loop[];
  /** The innermost loop, over lanes. */
  readonly inner: Loop;
}

interface ReduceLoops extends Pick<ReduceContext, "kept" | "reduced" | "inner"> {
  readonly counters: Counters;
  readonly scratchBytes: number;
}

/** The kernel's loops; undefined where nothing is added up. Operands: inputs, outputs, scratch memory, counters. */
function loopsOf({ op, exprs, shape, inputs, axes }: ReduceKernel): ReduceLoops | undefined {
  if (axes.every((axis) => shape[axis] === 1) || shape.includes(0)) return undefined;
  const counters = new Counters(exprs, shape);
  const outputShape = shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const operands = [
    ...inputs.map((input) => broadcastStrides(input.shape, shape)),
    ...exprs.map(() => broadcastStrides(outputShape, shape)),
    shape.map(() => 0),
    ...counters.strides,
  ];
  const loops = collapse(shape, operands, axes);
  const outer = loops.slice(0, -1);
  const reduced = outer.filter((loop) => loop.reduced);
  let inner = loops.at(-1)!;
  const scratchBytes = inner.reduced ? 0 : columnScratch(op, exprs.length, reduced, inner);
  if (scratchBytes > 0) inner = { ...inner, strides: inner.strides.with(inputs.length + exprs.length, 1) };
  return { kept: outer.filter((loop) => !loop.reduced), reduced, inner, counters, scratchBytes };
}

/** Bytes of scratch memory that a reduce kernel wants while it runs. */
export const reduceScratch = (kernel: ReduceKernel): number => loopsOf(kernel)?.scratchBytes ?? 0;

export function reduceFunction(kernel: ReduceKernel, addressType: AddressType): FunctionBuilder {
  checkReduce(kernel);
  const { exprs, inputs, op } = kernel;
  const loops = loopsOf(kernel);
  if (loops === undefined) return mapFunction(withoutSums(kernel), addressType);
  const along = alongRows(kernel);
  const short = along && shortRowsOf(along);
  if (short !== undefined) return shortRowsFunction(along!, short, addressType);
  const { kept, reduced, inner, counters, scratchBytes } = loops;
  const fn = new FunctionBuilder(inputs.length + exprs.length + (scratchBytes > 0 ? 1 : 0), addressType);
  const outputs = exprs.map((_, i) => inputs.length + i);
  const scratch = inputs.length + exprs.length;
  const firstCounter = scratch + 1;
  const order = [...kept, ...reduced];
  // Of columns, the vectors of several rows are computed in turn: what differs between rows differs between vectors.
  const rows = inner.reduced ? undefined : reduced.at(-1)!;
  const uses = usesIn(order, inner, 0, firstCounter + counters.strides.length).map((use, i) => ({
    ...use,
    varies: use.varies || (rows !== undefined && rows.strides[i] !== 0),
  }));
  const graph = new Graph(uses, uses.slice(firstCounter));
  const lowering = new Lowering(
    graph,
    inputs.map(({ dtype = "f32" }) => dtype),
    (name) => counters.numberOf(name),
  );
  const roots = exprs.map((expr) => lowering.lower(expr));
  const widths = inputs.map(({ dtype = "f32" }) => elementBytes[dtype]);
  const addresses = widths.map((bytes, pointer): Address => {
    const rowBytes = bytes * (rows?.strides[pointer] ?? 0);
    return { pointer, offset: 0, bytes, rowBytes, splat: inner.strides[pointer] === 0 };
  });
  const counterLocals = counters.declare(fn);
  const lanes = new LaneEmitter(fn, graph, roots, {
    address: (operand) => addresses[operand]!,
    counters: counterLocals.map((local, i) => ({
      local,
      laneStep: inner.strides[firstCounter + i]!,
      rowStep: rows?.strides[firstCounter + i] ?? 0,
    })),
    ...(rows === undefined ? {} : { rowLevel: order.length }),
  });
  const pointers = new Pointers(
    fn,
    [...inputs.keys(), ...outputs, scratch, ...counterLocals],
    [...widths, ...outputs.map(() => elementBytes.f32), F64_BYTES, ...counterLocals.map(() => 1)],
  );
  lanes.enter(0);
  const context = { fn, op, lanes, roots, pointers, outputs, scratch, kept, reduced, inner };
  if (inner.reduced) reduceRows(context);
  else reduceColumns(context);
  return fn;
}

/** The same as passes along rows, where only the last dimension vanishes. */
function alongRows({ op, exprs, shape, inputs, axes }: ReduceKernel): RowsKernel | undefined {
  if (axes.length !== 1 || axes[0] !== shape.length - 1) return undefined;
  const rowExprs = exprs.map((_, i) => ({ op: "input", index: inputs.length + i }) as const);
  return { type: "rows", stages: exprs.map((expr) => ({ op, expr })), exprs: [], rowExprs, shape, inputs };
}

/** The map that is the reduction where each element is a result of its own, or where there are none. */
function withoutSums({ op, exprs, shape, inputs, axes }: ReduceKernel): MapKernel {
  if (!shape.includes(0)) return { type: "map", exprs, shape, inputs };
  const identity = { op: "const", value: op === "sum" ? 0 : -Infinity } as const;
  return {
    type: "map",
    exprs: exprs.map(() => identity),
    shape: shape.filter((_, axis) => !axes.includes(axis)),
    inputs: inputs.map((input) => ({ ...input, shape: [] })),
  };
}
