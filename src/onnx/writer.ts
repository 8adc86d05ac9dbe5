// What the writers of ops know of the model around an op.
import type { Op, OpKind, OpOf, Program, Shape, ValueId } from "../program/ir.ts";
import type { GraphBuilder } from "./graph-builder.ts";

export interface OpWriter {
  readonly graph: GraphBuilder;
  readonly program: Program;
  /** The ONNX name of a value, as it is. */
  name(id: ValueId): string;
  /** The ONNX name of a value as f32 numbers. */
  number(id: ValueId): string;
}

/** Gives the names of the op's outputs. */
export type WriteOp<K extends OpKind> = (op: OpOf<K>, writer: OpWriter) => string[];

export const shapeOf = ({ program }: OpWriter, id: ValueId): Shape => program.values[id]!.shape;

/** " in LAYER", for messages. */
export const placeOf = ({ scope }: Op): string => (scope === "" ? "" : ` in ${scope}`);
