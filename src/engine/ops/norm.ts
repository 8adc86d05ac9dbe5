// batch_norm_grad where lowering has left it, by the provider.
import type { FloatType } from "../plan.ts";
import type { NormShape, Provider } from "../provider.ts";
import { check, checkArity, checkType, type OpSignature, sizeOf } from "../tensor.ts";
import type { BindOp } from "./op.ts";

function normShape(op: OpSignature): NormShape {
  checkArity(op, 5, 3);
  const [dy, x, gamma, mean, rstd] = op.inputs;
  const [dx, dgamma, dbeta] = op.outputs;
  const columns = x!.shape.at(-1) ?? 0;
  const rows = sizeOf(x!.shape) / columns;
  check(op, rows > 0, "a norm of nothing");
  checkType(op, "the gradient", dy!, x!.dtype, x!.shape);
  checkType(op, "dx", dx!, x!.dtype, x!.shape);
  const vectors = { gamma, mean, rstd, dgamma, dbeta };
  for (const [name, vector] of Object.entries(vectors)) checkType(op, name, vector!, "f32", [columns]);
  // rstd holds the epsilon.
  return { direction: "backward", axis: "batch", rows, columns, epsilon: 0, type: x!.dtype as FloatType };
}

export const normScratch = (op: OpSignature, provider: Pick<Provider, "norm">): number =>
  provider.norm.scratchBytes(normShape(op));

const bindNorm: BindOp = ({ instruction, inputs, outputs, scratch, scratchBytes, context }) => {
  const [y, x, gamma, mean, rstd] = inputs as [number, number, number, number, number];
  const [dx, dgamma, dbeta] = outputs as [number, number, number];
  const addresses = { x, y, gamma, beta: gamma, mean, rstd, dx, dgamma, dbeta };
  return [context.provider.norm.bind(normShape(instruction), { ...addresses, scratch, scratchBytes })];
};

export const normOps = { batch_norm_grad: bindNorm };
