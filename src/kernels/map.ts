// Code for map kernels: loops over the collapsed dimensions, the innermost in vectors.
import type { AddressType } from "../memory/index.ts";
import { Counters, usesIn } from "./counters.ts";
import { Graph } from "./graph.ts";
import { type Address, LaneEmitter, unrollOf } from "./lanes.ts";
import { broadcastStrides, collapse, nest, overTurns, Pointers } from "./loops.ts";
import { Lowering } from "./lower.ts";
import { Outputs } from "./outputs.ts";
import { elementBytes, type MapKernel } from "./spec.ts";
import { checkMap } from "./validate.ts";
import { FunctionBuilder } from "./wasm.ts";

export function mapFunction(kernel: MapKernel, addressType: AddressType): FunctionBuilder {
  checkMap(kernel);
  const { exprs, shape, inputs, dtypes = exprs.map(() => "f32" as const) } = kernel;
  const fn = new FunctionBuilder(inputs.length + exprs.length, addressType);
  if (shape.includes(0)) return fn;
  const own = broadcastStrides(shape, shape);
  const counters = new Counters(exprs, shape);
  const operands = [
    ...inputs.map((input) => broadcastStrides(input.shape, shape)),
    ...exprs.map(() => own),
    ...counters.strides,
  ];
  const loops = collapse(shape, operands);
  const outer = loops.slice(0, -1);
  const inner = loops.at(-1)!;
  const firstCounter = inputs.length + exprs.length;

  const graph = new Graph(
    usesIn(outer, inner, 0, inputs.length),
    usesIn(outer, inner, firstCounter, counters.strides.length),
  );
  const lowering = new Lowering(
    graph,
    inputs.map(({ dtype = "f32" }) => dtype),
    (name) => counters.numberOf(name),
  );
  const roots = exprs.map((expr, i) => lowering.lowerTo(dtypes[i]!, expr));
  const widths = inputs.map(({ dtype = "f32" }) => elementBytes[dtype]);
  const address = (pointer: number): Address => ({ pointer, offset: 0, bytes: widths[pointer]! });
  const counterLocals = counters.declare(fn);
  const lanes = new LaneEmitter(fn, graph, roots, {
    address,
    counters: counterLocals.map((local, i) => ({ local, laneStep: inner.strides[firstCounter + i]!, rowStep: 0 })),
  });
  const outputs = new Outputs(
    fn,
    lanes,
    roots.map((root, i) => ({ pointer: inputs.length + i, type: dtypes[i]!, root })),
  );
  const pointers = new Pointers(
    fn,
    [...inputs.keys(), ...exprs.map((_, i) => inputs.length + i), ...counterLocals],
    [...widths, ...dtypes.map((dtype) => elementBytes[dtype]), ...counterLocals.map(() => 1)],
  );
  const step = (elements: number): void => pointers.move(inner.strides.map((stride) => stride * elements));

  lanes.enter(0);
  nest(
    fn,
    outer,
    pointers,
    (loop) => lanes.enter(loop + 1),
    () => {
      const moved = overTurns(fn, inner.count, unrollOf(lanes.costOf()), step, (offsets, count) => {
        lanes.turn(roots, offsets, count);
        outputs.store(offsets, count);
      });
      return inner.strides.map((stride) => stride * moved);
    },
  );
  return fn;
}
