// LSTM and GRU in ONNX. Our ops take the projected inputs, theirs the inputs with the weight and the bias of the
// projection, which are looked for in front of the op. T steps, B rows, I inputs, H units; one direction.
import * as e from "../kernels/expr.ts";
import { keyOf } from "../program/expr-tools.ts";
import type { Op, OpOf, ValueId } from "../program/ir.ts";
import type { GraphBuilder } from "./graph-builder.ts";
import { type OpWriter, placeOf, shapeOf, type WriteOp } from "./writer.ts";

/** Which of our gates stand where in ONNX: i, o, f, c of i, f, g, o; and z, r, h of r, z, n. */
const GATES = { lstm: [0, 3, 1, 2], gru: [1, 0, 2] } as const;

/** y · weight + bias by the ONNX names of y [T,B,I], weight [I,gates·H] and bias [gates·H]; none is a bias of zeros. */
interface Projection {
  readonly y: string;
  readonly weight: string;
  readonly bias?: string;
}

export const writeLstm: WriteOp<"lstm"> = (op, writer) => {
  const [projected, weight, hidden, cell] = op.inputs as [ValueId, ValueId, ValueId, ValueId];
  const states = [hidden, cell].map((id) => oneDirection(writer.graph, writer.number(id)));
  return write(op, writer, { projected, weight: writer.number(weight), states });
};

/** The reset gate is applied after the recurrent product, as in PyTorch. */
export const writeGru: WriteOp<"gru"> = (op, writer) => {
  const [projected, weight, bias, hidden] = op.inputs as [ValueId, ValueId, ValueId, ValueId];
  const states = [oneDirection(writer.graph, writer.number(hidden))];
  const parts = { projected, weight: writer.number(weight), bias: writer.number(bias), states };
  return write(op, writer, parts, { linear_before_reset: 1 });
};

function write(
  op: OpOf<"lstm" | "gru">,
  writer: OpWriter,
  parts: { projected: ValueId; weight: string; bias?: string; states: readonly string[] },
  attributes: Readonly<Record<string, number>> = {},
): string[] {
  const { graph, program } = writer;
  const [states, ...kept] = op.outputs as [ValueId, ...ValueId[]];
  const read = new Set([...program.ops.flatMap(({ inputs }) => inputs), ...Object.values(program.outputs)]);
  if (kept.some((id) => read.has(id))) {
    throw new Error(
      `ONNX export: ${op.kind}${placeOf(op)}: only its states have a counterpart, not its cells and gates`,
    );
  }
  const units = shapeOf(writer, states)[2]!;
  const gates = GATES[op.kind];
  const { y, weight, bias } = projectionOf(parts.projected, writer);
  const zeros = (): string => graph.node("Expand", [graph.number(0), graph.integers([gates.length * units])]);
  const biases = [bias ?? zeros(), parts.bias ?? zeros()].map((name) =>
    inOrder(graph, name, { gates, units, axis: 0 }),
  );
  const kernels = [weight, parts.weight].map((name) => {
    const ordered = inOrder(graph, name, { gates, units, axis: 1 });
    return oneDirection(graph, graph.node("Transpose", [ordered], { perm: [1, 0] }));
  });
  const bothBiases = oneDirection(graph, graph.node("Concat", biases, { axis: 0 }));
  const [all] = graph.nodeOf(op.kind.toUpperCase(), [y, ...kernels, bothBiases, "", ...parts.states], 1, {
    hidden_size: units,
    ...attributes,
  });
  return [graph.node("Squeeze", [all!, graph.integers([1])])];
}

const oneDirection = (graph: GraphBuilder, name: string): string =>
  graph.node("Unsqueeze", [name, graph.integers([0])]);

/** The gates along an axis in the order of ONNX. */
function inOrder(
  graph: GraphBuilder,
  name: string,
  { gates, units, axis }: { gates: readonly number[]; units: number; axis: number },
): string {
  const parts = gates.map((gate) =>
    graph.node("Slice", [name, ...[[gate * units], [(gate + 1) * units], [axis]].map((list) => graph.integers(list))]),
  );
  return graph.node("Concat", parts, { axis });
}

/** What the layers of `nn` compute the projected inputs from; of another origin they are inputs of the identity. */
function projectionOf(projected: ValueId, writer: OpWriter): Projection {
  const { graph, program } = writer;
  const [steps, rows, width] = shapeOf(writer, projected) as [number, number, number];
  const producers = new Map<ValueId, Op>(program.ops.flatMap((op) => op.outputs.map((id) => [id, op])));
  const before = (id: ValueId): Op | undefined => producers.get(id);
  const flattened = before(projected);
  const sum = flattened?.kind === "reshape" ? before(flattened.inputs[0]!) : undefined;
  if (sum?.kind === "map" && sum.attrs.exprs.length === 1 && keyOf(sum.attrs.exprs[0]!) === SUM) {
    const [left, bias] = sum.inputs as [ValueId, ValueId];
    const product = before(left);
    if (product?.kind === "matmul" && isPlain(product) && shapeOf(writer, bias).join() === String(width)) {
      const [x, weight] = product.inputs as [ValueId, ValueId];
      const shape = graph.integers([steps, rows, shapeOf(writer, x)[1]!]);
      const y = graph.node("Reshape", [writer.number(x), shape]);
      return { y, weight: writer.number(weight), bias: writer.number(bias) };
    }
  }
  const square = graph.node("Expand", [graph.number(0), graph.integers([width, width])]);
  return { y: writer.number(projected), weight: graph.node("EyeLike", [square]) };
}

const SUM = keyOf(e.add(e.input(0), e.input(1)));

const isPlain = ({ attrs, inputs }: OpOf<"matmul">): boolean =>
  inputs.length === 2 && !attrs.transposeA && !attrs.transposeB && attrs.activation === undefined;
