// Code for rows kernels: a loop over the rows, in it a loop along the row for each pass, in which all stages that need no
// other pass before them are computed together. A row is small enough to stay in the cache from pass to pass; values that
// are dear to compute are stored in a row of scratch memory for the passes after.
import type { AddressType } from "../memory/index.ts";
import { BLOCK, RowResult } from "./accumulate.ts";
import { Counters, usesIn } from "./counters.ts";
import { Graph, type NodeId } from "./graph.ts";
import { type Address, LaneEmitter, unrollOf } from "./lanes.ts";
import { collapse, type Loop, nest, overTurns, Pointers, rowsStrides, times } from "./loops.ts";
import { Lowering } from "./lower.ts";
import { Outputs } from "./outputs.ts";
import { additionsOf, overRow, registersOf } from "./row-walk.ts";
import { shortRowsFunction, shortRowsOf } from "./short-rows.ts";
import { elementBytes, type RowsKernel } from "./spec.ts";
import { checkRows } from "./validate.ts";
import { FunctionBuilder, valueType } from "./wasm.ts";

/** Instructions from which on a value is stored rather than computed again. */
const DEAR = 6;

/** A rows kernel as nodes: what each pass computes, and which of its vectors are stored for later ones. */
interface Passes {
  readonly graph: Graph;
  readonly counters: Counters;
  /** The loops over rows, and that along a row. Operands: inputs, outputs, scratch memory, counters. */
  readonly outer: readonly Loop[];
  readonly inner: Loop;
  readonly stages: readonly { readonly root: NodeId; readonly result: NodeId }[];
  readonly roots: readonly NodeId[];
  readonly rowRoots: readonly NodeId[];
  /** Nodes whose vectors are stored, each in the pass of its phase. */
  readonly kept: readonly { readonly node: NodeId; readonly phase: number }[];
}

function passesOf(kernel: RowsKernel): Passes {
  const { stages, exprs, rowExprs, shape, inputs, dtypes = [] } = kernel;
  const counters = new Counters([...stages.map(({ expr }) => expr), ...exprs, ...rowExprs], shape);
  const operands = [
    ...rowsStrides(kernel),
    shape.map((_, axis) => (axis === shape.length - 1 ? 1 : 0)),
    ...counters.strides,
  ];
  const heads = operands.map((strides) => strides.slice(0, -1));
  const outer = collapse(shape.slice(0, -1), heads);
  const inner: Loop = { count: shape.at(-1)!, strides: operands.map((strides) => strides.at(-1)!), reduced: false };

  const uses = usesIn(outer, inner, 0, operands.length);
  const graph = new Graph(uses, uses.slice(operands.length - counters.strides.length));
  const lowering = new Lowering(
    graph,
    inputs.map(({ dtype = "f32" }) => dtype),
    (name) => counters.numberOf(name),
  );
  const nodes = stages.map(({ expr }, i) => {
    const root = lowering.lower(expr);
    const result = graph.stage(i, root, outer.length);
    lowering.define(inputs.length + i, result);
    return { root, result };
  });
  const roots = exprs.map((expr, i) => lowering.lowerTo(dtypes[i] ?? "f32", expr));
  const rowRoots = rowExprs.map((expr) => lowering.lower(expr));
  for (const [i, root] of rowRoots.entries()) {
    if (graph.nodes[root]!.varies) {
      throw new Error(
        `row expression ${i} of a rows kernel differs along the row: it may read stages and row values only`,
      );
    }
  }
  return { graph, counters, outer, inner, stages: nodes, roots, rowRoots, kept: keptOf(graph, nodes, roots) };
}

/**
 * What to store: of the nodes that a pass computes and later ones compute from, those that later ones meet first, where they
 * are dear.
 */
function keptOf(graph: Graph, stages: Passes["stages"], roots: readonly NodeId[]): Passes["kept"] {
  const kept: { node: NodeId; phase: number }[] = [];
  const isKept = (id: NodeId): boolean => kept.some(({ node }) => node === id);
  const phaseOf = (id: NodeId): number => graph.nodes[id]!.phase;
  const isWork = (id: NodeId): boolean => graph.nodes[id]!.kind === "simd" && graph.nodes[id]!.varies;
  const isDear = (id: NodeId): boolean => graph.reach([id], isKept).filter(isWork).length >= DEAR;
  const ends = stages.map(({ root }) => root);
  for (const phase of new Set(ends.map(phaseOf))) {
    const here = new Set(
      graph.reach(
        ends.filter((root) => phaseOf(root) === phase),
        isKept,
      ),
    );
    const later = [...ends.filter((root) => phaseOf(root) > phase), ...roots];
    const isBoundary = (id: NodeId): boolean => isKept(id) || (here.has(id) && isWork(id) && isDear(id));
    const met = graph.reach(later, isBoundary).filter((id) => isBoundary(id) && !isKept(id));
    kept.push(...met.map((node) => ({ node, phase })));
  }
  return kept;
}

const paddedBytes = ({ shape }: RowsKernel): number => 16 * Math.ceil(shape.at(-1)! / 4);

/** Bytes of scratch memory that a rows kernel wants while it runs. */
export const rowsScratch = (kernel: RowsKernel): number =>
  shortRowsOf(kernel) === undefined ? paddedBytes(kernel) * passesOf(kernel).kept.length : 0;

export function rowsFunction(kernel: RowsKernel, addressType: AddressType): FunctionBuilder {
  checkRows(kernel);
  const { stages, exprs, rowExprs, shape, inputs, dtypes = exprs.map(() => "f32" as const) } = kernel;
  const { graph, counters, outer, inner, kept, ...nodes } = passesOf(kernel);
  // After the passes, which refuse row expressions that differ along the row.
  const short = shortRowsOf(kernel);
  if (short !== undefined) return shortRowsFunction(kernel, short, addressType);
  const scratch = inputs.length + exprs.length + rowExprs.length;
  const fn = new FunctionBuilder(scratch + (kept.length > 0 ? 1 : 0), addressType);
  if (shape.includes(0)) return fn;

  const locals = counters.declare(fn);
  const widths = inputs.map(({ dtype = "f32" }) => elementBytes[dtype]);
  const outputWidths = dtypes.map((dtype) => elementBytes[dtype]);
  const keptAt = (i: number): Address => ({ pointer: scratch, offset: i * paddedBytes(kernel), bytes: 4 });
  const ends = [...nodes.stages.map(({ root }) => root), ...nodes.roots, ...nodes.rowRoots];
  const lanes = new LaneEmitter(fn, graph, [...ends, ...kept.map(({ node }) => node)], {
    address: (pointer) => ({ pointer, offset: 0, bytes: widths[pointer]! }),
    counters: locals.map((local, i) => ({ local, laneStep: inner.strides[scratch + 1 + i]!, rowStep: 0 })),
  });
  // The scratch memory moves only if there is any.
  const strides = kept.length > 0 ? inner.strides : inner.strides.with(scratch, 0);
  const pointers = new Pointers(
    fn,
    [...Array.from({ length: scratch + 1 }, (_, i) => i), ...locals],
    [...widths, ...outputWidths, ...rowExprs.map(() => 4), 4, ...locals.map(() => 1)],
  );
  const step = (elements: number): void => pointers.move(times(strides, elements));
  const value = fn.local(valueType.v128);

  const pass = (phase: number): void => {
    const own = nodes.stages.flatMap((stage, i) => (graph.nodes[stage.root]!.phase === phase ? [{ ...stage, i }] : []));
    const unroll = unrollOf(lanes.costOf(own.map(({ root }) => root)));
    const registers = registersOf(inner.count, unroll);
    const long = additionsOf(inner.count, unroll) > BLOCK;
    const results = own.map(({ i }) => new RowResult(fn, stages[i]!.op, registers, long));
    const flush = (): void => {
      for (const result of results) result.flush();
    };
    for (const result of results) result.start();
    const stored = kept.flatMap((keep, i) => (keep.phase === phase ? [{ node: keep.node, at: keptAt(i) }] : []));
    const computed = [...own.map(({ root }) => root), ...stored.map(({ node }) => node)];
    const turn = (offsets: readonly number[], count: number): void => lanes.turn(computed, offsets, count);
    const body = (offset: number, count: number): void => {
      lanes.vector(offset, count);
      for (const { node, at } of stored) {
        lanes.push(node);
        fn.set(value);
        fn.store(at.pointer, at.offset + at.bytes * offset, 4, value, 4);
      }
      for (const [k, { root }] of own.entries()) {
        results[k]!.accumulators.add((offset / 4) % registers, count, () => lanes.push(root));
      }
    };
    const moved = overRow(fn, inner.count, unroll, step, long ? flush : undefined, body, turn);
    step(-moved);
    for (const [k, { result }] of own.entries()) {
      results[k]!.finish();
      lanes.define(result, results[k]!.local);
    }
    for (const { node, at } of stored) lanes.keep(node, at);
    lanes.enter(outer.length, phase + 1);
  };

  const outputs = new Outputs(
    fn,
    lanes,
    nodes.roots.map((root, i) => ({ pointer: inputs.length + i, type: dtypes[i]!, root })),
  );
  const write = (): void => {
    if (nodes.roots.length > 0) {
      const moved = overTurns(fn, inner.count, unrollOf(lanes.costOf(nodes.roots)), step, (offsets, count) => {
        lanes.turn(nodes.roots, offsets, count);
        outputs.store(offsets, count);
      });
      step(-moved);
    }
    for (const [i, root] of nodes.rowRoots.entries()) {
      lanes.push(root);
      fn.set(value);
      fn.store(inputs.length + exprs.length + i, 0, 1, value, 4);
    }
  };

  lanes.enter(0);
  const phases = Math.max(0, ...nodes.stages.map(({ result }) => graph.nodes[result]!.phase));
  nest(
    fn,
    outer,
    pointers,
    (loop) => lanes.enter(loop + 1),
    () => {
      for (let phase = 0; phase < phases; phase++) pass(phase);
      write();
      return times(strides, 0);
    },
  );
  return fn;
}
