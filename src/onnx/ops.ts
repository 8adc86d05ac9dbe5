// What each op of a program becomes in ONNX. Pictures are NHWC here and NCHW there: convolutions and pooling get
// transpositions around them, which runtimes cancel between neighbours.
import { input } from "../kernels/expr.ts";
import { type Op, type OpKind, type Program, sizeOf, type ValueId } from "../program/ir.ts";
import { broadcastShapes } from "../program/ops/broadcast.ts";
import { ExpressionWriter } from "./expressions.ts";
import type { GraphBuilder } from "./graph-builder.ts";
import { ElementType } from "./proto.ts";
import { writeGru, writeLstm } from "./recurrent.ts";
import { type OpWriter, placeOf, shapeOf, type WriteOp } from "./writer.ts";

const TO_NCHW = [0, 3, 1, 2];
const TO_NHWC = [0, 2, 3, 1];
const HWIO_TO_OIHW = [3, 2, 0, 1];

const activations = { relu: "Relu", sigmoid: "Sigmoid", tanh: "Tanh" } as const;

function activated(graph: GraphBuilder, name: string, activation: keyof typeof activations | undefined): string[] {
  return [activation === undefined ? name : graph.node(activations[activation], [name])];
}

const swapLast = (rank: number): number[] => [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2];

export const opWriters: { readonly [K in OpKind]?: WriteOp<K> } = {
  map(op, writer) {
    const { graph } = writer;
    const whole = shapeOf(writer, op.outputs[0]!);
    const expressions = new ExpressionWriter(graph, op.inputs.map(writer.number), whole);
    return op.attrs.exprs.map((expr, k) => {
      const { shape } = writer.program.values[op.outputs[k]!]!;
      const value = expressions.write(expr);
      // The expression may span less than the map, or be nothing but an operand.
      return graph.node("Expand", [value, graph.integers(shape)]);
    });
  },

  reduce(op, writer) {
    const { graph } = writer;
    const whole = broadcastShapes(op.inputs.map((id) => shapeOf(writer, id)));
    const expressions = new ExpressionWriter(graph, op.inputs.map(writer.number), whole);
    const exprs = op.attrs.exprs ?? [input(0)];
    return exprs.map((expr) =>
      graph.node(
        op.attrs.op === "sum" ? "ReduceSum" : "ReduceMax",
        [expressions.write(expr), graph.integers(op.attrs.axes)],
        { keepdims: Number(op.attrs.keepDims), noop_with_empty_axes: 1 },
      ),
    );
  },

  matmul(op, writer) {
    const { transposeA, transposeB, activation } = op.attrs;
    const product = writer.graph.node("Gemm", op.inputs.map(writer.number), {
      transA: Number(transposeA),
      transB: Number(transposeB),
    });
    return activated(writer.graph, product, activation);
  },

  batch_matmul(op, writer) {
    const { graph } = writer;
    const { transposeA, transposeB, permA, permB, permC } = op.attrs;
    const operand = (id: ValueId, perm: readonly number[] | undefined, transposed: boolean): string => {
      const rank = shapeOf(writer, id).length;
      const logical = perm === undefined ? writer.number(id) : graph.node("Transpose", [writer.number(id)], { perm });
      return transposed ? graph.node("Transpose", [logical], { perm: swapLast(rank) }) : logical;
    };
    const [a, b] = op.inputs as [ValueId, ValueId];
    const product = graph.node("MatMul", [operand(a, permA, transposeA), operand(b, permB, transposeB)]);
    if (permC === undefined) return [product];
    return [graph.node("Transpose", [product], { perm: permC.map((_, axis) => permC.indexOf(axis)) })];
  },

  reshape: (op, writer) => [
    writer.graph.node("Reshape", [writer.name(op.inputs[0]!), writer.graph.integers(op.attrs.shape)], { allowzero: 1 }),
  ],

  concat: (op, writer) => [writer.graph.node("Concat", op.inputs.map(writer.name), { axis: op.attrs.axis })],

  slice(op, writer) {
    const { axis, start, end } = op.attrs;
    const lists = [[start], [end], [axis]].map((list) => writer.graph.integers(list));
    return [writer.graph.node("Slice", [writer.name(op.inputs[0]!), ...lists])];
  },

  pad(op, writer) {
    const { axis, before, after } = op.attrs;
    const pads = writer.graph.integers([before, after]);
    return [writer.graph.node("Pad", [writer.number(op.inputs[0]!), pads, "", writer.graph.integers([axis])])];
  },

  transpose: (op, writer) => [writer.graph.node("Transpose", [writer.name(op.inputs[0]!)], { perm: op.attrs.perm })],

  softmax: (op, writer) => [writer.graph.node("Softmax", [writer.number(op.inputs[0]!)], { axis: -1 })],

  layer_norm: (op, writer) =>
    writer.graph.nodeOf("LayerNormalization", op.inputs.map(writer.number), 3, {
      axis: -1,
      epsilon: { float: op.attrs.epsilon },
    }),

  /** Inference: over the last axis, by the running statistics. */
  batch_norm(op, writer) {
    const { graph } = writer;
    if (op.attrs.training) throw new Error("ONNX export: batch_norm was traced for training");
    const [x, gamma, beta, mean, variance] = op.inputs.map(writer.number) as [string, string, string, string, string];
    const deviation = graph.node("Sqrt", [graph.node("Add", [variance, graph.number(op.attrs.epsilon)])]);
    const scale = graph.node("Div", [gamma, deviation]);
    const centred = graph.node("Sub", [x, mean]);
    return [graph.node("Add", [graph.node("Mul", [centred, scale]), beta])];
  },

  conv2d(op, writer) {
    const { graph } = writer;
    const { stride, padding, dilation, groups, activation } = op.attrs;
    const [x, w, bias] = op.inputs as [ValueId, ValueId, ValueId?];
    const weight = graph.node("Transpose", [writer.number(w)], { perm: HWIO_TO_OIHW });
    const [top, bottom, left, right] = padding;
    const operands = [graph.node("Transpose", [writer.number(x)], { perm: TO_NCHW }), weight];
    if (bias !== undefined) operands.push(writer.number(bias));
    const y = graph.node("Conv", operands, {
      ...{ strides: stride, pads: [top, left, bottom, right], dilations: dilation, group: groups },
      kernel_shape: shapeOf(writer, w).slice(0, 2),
    });
    return activated(graph, graph.node("Transpose", [y], { perm: TO_NHWC }), activation);
  },

  pool2d(op, writer) {
    const { graph } = writer;
    const { mode, kernel, stride, padding, countPadding } = op.attrs;
    const [top, bottom, left, right] = padding;
    const x = graph.node("Transpose", [writer.number(op.inputs[0]!)], { perm: TO_NCHW });
    const y = graph.node(mode === "max" ? "MaxPool" : "AveragePool", [x], {
      ...{ kernel_shape: kernel, strides: stride, pads: [top, left, bottom, right] },
      ...(mode === "average" ? { count_include_pad: Number(countPadding) } : {}),
    });
    return [graph.node("Transpose", [y], { perm: TO_NHWC })];
  },

  embedding: (op, writer) => [
    writer.graph.node("Gather", [
      writer.number(op.inputs[0]!),
      writer.graph.node("Cast", [writer.name(op.inputs[1]!)], { to: ElementType.int64 }),
    ]),
  ],

  lstm: writeLstm,

  gru: writeGru,

  /** ½ Σ_d ((Σ_f x)² − Σ_f x²) of x [B,F,D]. */
  fm(op, writer) {
    const { graph } = writer;
    const x = writer.number(op.inputs[0]!);
    const [batch] = shapeOf(writer, op.inputs[0]!);
    const sumOver = (value: string, axis: number): string =>
      graph.node("ReduceSum", [value, graph.integers([axis])], { keepdims: 0 });
    const squareOf = (value: string): string => graph.node("Mul", [value, value]);
    const difference = graph.node("Sub", [squareOf(sumOver(x, 1)), sumOver(squareOf(x), 1)]);
    const half = graph.node("Mul", [sumOver(difference, 1), graph.number(0.5)]);
    return [graph.node("Reshape", [half, graph.integers([batch!, 1])])];
  },
};

/** Writes an op and returns the names of its outputs. @throws Error where ONNX has no counterpart. */
export function writeOp(op: Op, writer: OpWriter): string[] {
  const write = opWriters[op.kind] as WriteOp<OpKind> | undefined;
  if (write === undefined) {
    const reason =
      op.kind === "lookup" || op.kind === "gather" || op.kind === "gather_pool"
        ? "tables that grow have no counterpart; give the model the embeddings as an input"
        : "it has no counterpart there";
    throw new Error(`ONNX export: ${op.kind}${placeOf(op)}: ${reason}`);
  }
  return write(op as never, writer);
}

/** Bytes of f32 parameters of a program: for messages and limits. */
export const parameterBytes = ({ parameters, values }: Program): number =>
  Object.values(parameters).reduce((sum, { value }) => sum + 4 * sizeOf(values[value]!.shape), 0);
