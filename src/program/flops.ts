// Floating-point operations of each kind of op.
import { countNodes } from "./expr-tools.ts";
import { type Op, type Program, sizeOf, type ValueId } from "./ir.ts";

/** Operations that a node of an expression is worth on average: most are one instruction, exp or a random draw are twenty. */
const FLOPS_PER_NODE = 2;

/** Floating-point operations of an op; 0 for kinds that mostly move memory. A multiplication and an addition count as two. */
export function flopsOf({ values }: Program, op: Op): number {
  const shapeOf = (id: ValueId): readonly number[] => values[id]!.shape;
  const elements = (id: ValueId): number => sizeOf(shapeOf(id));
  const [first] = op.inputs;
  const [result] = op.outputs;
  if (first === undefined || result === undefined) return 0;
  switch (op.kind) {
    case "map":
      return FLOPS_PER_NODE * countNodes(op.attrs.exprs) * elements(result);
    case "rows": {
      const { stages, exprs, rowExprs, shape } = op.attrs;
      const nodes = countNodes([...stages.map(({ expr }) => expr), ...exprs, ...rowExprs]);
      return FLOPS_PER_NODE * nodes * sizeOf(shape);
    }
    case "matmul": {
      const [rows, columns] = shapeOf(first) as [number, number];
      return 2 * elements(result) * (op.attrs.transposeA ? rows : columns);
    }
    case "batch_matmul": {
      const stored = shapeOf(first);
      const shape = op.attrs.permA?.map((axis) => stored[axis]!) ?? stored;
      return 2 * elements(result) * shape.at(op.attrs.transposeA ? -2 : -1)!;
    }
    case "conv2d":
      return convolutionFlops(elements(result), shapeOf(op.inputs[1]!));
    case "conv2d_input_grad":
      return convolutionFlops(elements(first), shapeOf(op.inputs[1]!));
    case "conv2d_weight_grad":
      return convolutionFlops(elements(op.inputs[1]!), op.attrs.shape);
    case "lstm":
    case "gru":
      return 2 * elements(first) * shapeOf(result)[2]!;
    case "lstm_grad":
    case "gru_grad":
      return 2 * elements(result) * shapeOf(first)[2]!;
    default:
      return 0;
  }
}

/** Each element of the result is a product with one of the filters [KH, KW, C / groups, O]. */
const convolutionFlops = (results: number, [height, width, channels]: readonly number[]): number =>
  2 * results * height! * width! * channels!;
