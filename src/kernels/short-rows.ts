// Rows kernels over short rows, as softmax over ten classes: the lanes of a vector are the same column of four rows side by
// side. So no lane idles at the end of a row, what belongs to a whole row is computed for four at once, and a pass over the
// row is a tree of vectors without passes across lanes.
import type { AddressType } from "../memory/index.ts";
import type { ReduceOp } from "./accumulate.ts";
import { Counters } from "./counters.ts";
import type { Expr } from "./expr.ts";
import { Graph, type NodeId } from "./graph.ts";
import { type Address, LaneEmitter } from "./lanes.ts";
import { collapse, type Loop, Pointers, repeat, rowsStrides, times } from "./loops.ts";
import { Lowering } from "./lower.ts";
import { elementBytes, type KernelInput, type RowsKernel } from "./spec.ts";
import { FunctionBuilder, simd, valueType } from "./wasm.ts";

/**
 * Columns and nodes up to which rows are short: all columns are code of their own, and their values want registers. A
 * cross-entropy over 10 classes takes half the time of rows one by one, over 16 two thirds; a norm over 12 or 16 a seventh more.
 */
const MOST_COLUMNS = 16;
const MOST_NODES = 2000;
const LANES = 4;
const BYTES = 4;

/** A kernel as nodes over four rows at once. */
export interface ShortRows {
  readonly graph: Graph;
  /** The loop over the rows. Operands: inputs, tensors, numbers a row. */
  readonly loop: Loop;
  /** By operand of the graph: a column of an input, or an input that has none. */
  readonly operands: readonly { readonly input: number; readonly column: number }[];
  /** Of each tensor its columns. */
  readonly tensors: readonly (readonly NodeId[])[];
  readonly rowRoots: readonly NodeId[];
}

/** The kernel over four rows at once; undefined where its rows are long, few, or of what lanes cannot hold. */
export function shortRowsOf(kernel: RowsKernel): ShortRows | undefined {
  const { stages, exprs, rowExprs, shape, inputs, dtypes = [] } = kernel;
  const columns = shape.at(-1)!;
  const loop = columns > MOST_COLUMNS || shape.includes(0) ? undefined : rowLoop(kernel);
  if (loop === undefined || loop.count < LANES) return undefined;
  if (dtypes.some((type) => type !== "f32") || !inputs.every(isWord)) return undefined;
  if (countsMore([...stages.map(({ expr }) => expr), ...exprs, ...rowExprs], shape)) return undefined;

  const operands = inputs.flatMap(({ shape: own }, input) =>
    Array.from({ length: isWide(own) ? columns : 1 }, (_, column) => ({ input, column })),
  );
  const graph = new Graph(
    operands.map(({ input }) => {
      const varies = loop.strides[input] !== 0;
      return { varies, level: varies ? 1 : 0 };
    }),
  );
  const types = operands.map(({ input }) => inputs[input]!.dtype ?? "f32");
  const firstOf = inputs.map((_, input) => operands.findIndex((operand) => operand.input === input));
  const results: NodeId[] = [];
  const lower = (expr: Expr): NodeId[] =>
    Array.from({ length: columns }, (_, column) => {
      const lowering = new Lowering(graph, types);
      lowering.defineIndex(graph.f32(column));
      for (const [input, first] of firstOf.entries()) {
        lowering.define(input, lowering.operand(first + (isWide(inputs[input]!.shape) ? column : 0)));
      }
      for (const [stage, node] of results.entries()) lowering.define(inputs.length + stage, node);
      return lowering.lower(expr);
    });
  for (const { op, expr } of stages) results.push(combined(graph, op, lower(expr)));
  const tensors = exprs.map(lower);
  const rowRoots = rowExprs.map((expr) => lower(expr)[0]!);
  return graph.nodes.length > MOST_NODES ? undefined : { graph, loop, operands, tensors, rowRoots };
}

const isWide = (shape: readonly number[]): boolean => (shape.at(-1) ?? 1) > 1;

/** Whether elements fill a lane. */
const isWord = ({ dtype = "f32" }: KernelInput): boolean => elementBytes[dtype] === BYTES;

/** Whether expressions count more than columns. */
function countsMore(exprs: readonly Expr[], shape: readonly number[]): boolean {
  const counters = new Counters(exprs, shape);
  return counters.numberOf("flat") >= 0 || shape.some((_, i) => i > 0 && counters.numberOf(-1 - i) >= 0);
}

/** The loop over rows, if one does for all operands. */
function rowLoop(kernel: RowsKernel): Loop | undefined {
  const loops = collapse(
    kernel.shape.slice(0, -1),
    rowsStrides(kernel).map((strides) => strides.slice(0, -1)),
  );
  return loops.length === 1 ? loops[0] : undefined;
}

/** The sum or maximum of nodes, in a tree. A NaN stays. */
function combined(g: Graph, op: ReduceOp, nodes: readonly NodeId[]): NodeId {
  const tree = (list: readonly NodeId[], join: (x: NodeId, y: NodeId) => NodeId): NodeId => {
    if (list.length === 1) return list[0]!;
    const half = Math.ceil(list.length / 2);
    return join(tree(list.slice(0, half), join), tree(list.slice(half), join));
  };
  if (op === "sum") return tree(nodes, (x, y) => g.op(simd.add, x, y));
  const most = tree(nodes, (x, y) => g.op(simd.pmax, x, y));
  const hasNaN = tree(
    nodes.map((x) => g.op(simd.ne, x, x)),
    (x, y) => g.op(simd.or, x, y),
  );
  return g.op(simd.bitselect, g.f32(Number.NaN), most, hasNaN);
}

export function shortRowsFunction(kernel: RowsKernel, rows: ShortRows, addressType: AddressType): FunctionBuilder {
  const { inputs, exprs, rowExprs } = kernel;
  const { graph, loop, operands, tensors, rowRoots } = rows;
  const fn = new FunctionBuilder(inputs.length + exprs.length + rowExprs.length, addressType);
  const outputs = [
    ...tensors.flatMap((roots, i) => roots.map((root, column) => ({ root, pointer: inputs.length + i, column }))),
    ...rowRoots.map((root, i) => ({ root, pointer: inputs.length + exprs.length + i, column: 0 })),
  ].map((output) => ({ ...output, local: fn.local(valueType.v128) }));
  const lanes = new LaneEmitter(
    fn,
    graph,
    outputs.map(({ root }) => root),
    {
      address: (operand): Address => {
        const { input, column } = operands[operand]!;
        return { pointer: input, offset: BYTES * column, bytes: BYTES, laneBytes: BYTES * loop.strides[input]! };
      },
    },
  );
  const pointers = new Pointers(
    fn,
    loop.strides.map((_, i) => i),
    loop.strides.map(() => BYTES),
  );
  const turn = (count: number): void => {
    lanes.vector(0, count);
    // All is read before the first is written: a tensor may lie over an input.
    for (const { root, local } of outputs) {
      lanes.push(root);
      fn.set(local);
    }
    for (const { pointer, column, local } of outputs) {
      fn.storeApart(pointer, BYTES * column, count, BYTES * loop.strides[pointer]!, local);
    }
  };
  lanes.enter(0);
  repeat(fn, Math.floor(loop.count / LANES), () => {
    turn(LANES);
    pointers.move(times(loop.strides, LANES));
  });
  if (loop.count % LANES > 0) turn(loop.count % LANES);
  return fn;
}
