// The effect of a dense optimizer: a map whose results are written over its operands.
import { evaluate } from "../../kernels/evaluate.ts";
import { ShapeError } from "../errors.ts";
import { sameShape } from "../ir.ts";
import { broadcastShapes } from "./broadcast.ts";
import { numbers, type OpDefinition } from "./definition.ts";
import { expectArithmetic, reader } from "./map.ts";

/** Expression i replaces input `targets[i]`; all expressions read the old values. The inputs broadcast to the targets' shape. */
export const update: OpDefinition<"update"> = {
  infer(inputs, { exprs, targets }) {
    if (targets.length !== exprs.length || new Set(targets).size !== targets.length) {
      throw new ShapeError(`${exprs.length} expressions need as many different targets, got [${targets.join(",")}]`);
    }
    const shape = broadcastShapes(inputs.map((type) => type.shape));
    expectArithmetic(inputs, exprs, shape);
    for (const target of targets) {
      const type = inputs[target];
      if (type === undefined || type.dtype !== "f32" || !sameShape(type.shape, shape)) {
        throw new ShapeError(`target ${target} must be an f32 input of shape [${shape.join(",")}]`);
      }
    }
    return [];
  },
  writes: ({ targets }) => targets,
  reference({ attrs, inputs }) {
    const shape = broadcastShapes(inputs.map((array) => array.shape));
    const read = reader(inputs, shape);
    const out = attrs.targets.map((target) => numbers(inputs[target]));
    for (let i = 0; i < out[0]!.length; i++) {
      const values = attrs.exprs.map((expr) => evaluate(expr, read(i), { counter: i, shape }));
      for (const [k, value] of values.entries()) out[k]![i] = value;
    }
  },
};
