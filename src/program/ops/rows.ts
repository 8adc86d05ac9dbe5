// Arithmetic over rows in several passes: what softmax, layer normalisation and their kin are lowered to.
import { evaluateRows } from "../../kernels/evaluate.ts";
import { ShapeError } from "../errors.ts";
import { sameShape } from "../ir.ts";
import { broadcastShapes } from "./broadcast.ts";
import { f32, numbers, type OpDefinition } from "./definition.ts";
import { expectArithmetic, reader, stores } from "./map.ts";

export const rows: OpDefinition<"rows"> = {
  infer(inputs, { stages, exprs, rowExprs, shape, dtypes }) {
    if (shape.length === 0) throw new ShapeError("a scalar has no last axis");
    const joint = broadcastShapes([shape, ...inputs.map((type) => type.shape)]);
    if (!sameShape(joint, shape)) {
      throw new ShapeError(`inputs that span [${joint.join(",")}] do not broadcast to [${shape.join(",")}]`);
    }
    const results = stages.map(() => f32(...shape.slice(0, -1), 1));
    for (const [i, { expr }] of stages.entries()) expectArithmetic([...inputs, ...results.slice(0, i)], [expr], shape);
    expectArithmetic([...inputs, ...results], [...exprs, ...rowExprs], shape);
    if (dtypes !== undefined && dtypes.length !== exprs.length) {
      throw new ShapeError(`${exprs.length} tensors have ${dtypes.length} dtypes`);
    }
    const tensors = exprs.map((_, k) => ({ shape, dtype: dtypes?.[k] ?? "f32" }) as const);
    return [...tensors, ...rowExprs.map(() => f32(...shape.slice(0, -1)))];
  },

  reference({ attrs, inputs, outputs }) {
    const results = evaluateRows(attrs, inputs.length, reader(inputs, attrs.shape));
    for (const [k, result] of results.entries()) {
      numbers(outputs[k]).set(k < attrs.exprs.length ? result.map(stores(attrs.dtypes?.[k])) : result);
    }
  },
};
