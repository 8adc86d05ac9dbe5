// matmul: a · b, with an optional bias and activation, by the provider of dense contractions.
import type { Activation, MatmulShape, Provider } from "../provider.ts";
import { check, checkArity, checkType, type OpSignature } from "../tensor.ts";
import type { BindOp } from "./op.ts";

const ACTIVATIONS: readonly unknown[] = ["relu", "sigmoid", "tanh"] satisfies Activation[];

/** The spec of a matmul but for its addresses. `bias` is 1 where there is one: only its presence is known. */
export function matmulShape(op: OpSignature): MatmulShape {
  checkArity(op, [2, 3], 1);
  const [a, b, bias] = op.inputs;
  const transposeA = op.attrs.transposeA === true;
  const transposeB = op.attrs.transposeB === true;
  const activation = op.attrs.activation as Activation | undefined;
  check(op, a!.shape.length === 2 && b!.shape.length === 2, "matmul takes matrices");
  check(op, a!.dtype === "f32" && b!.dtype === "f32", "matmul takes f32");
  check(
    op,
    activation === undefined || ACTIVATIONS.includes(activation),
    `activation must be one of ${ACTIVATIONS.join(", ")}, got ${JSON.stringify(activation)}`,
  );
  const [m, k] = transposeA ? [a!.shape[1]!, a!.shape[0]!] : [a!.shape[0]!, a!.shape[1]!];
  const [inner, n] = transposeB ? [b!.shape[1]!, b!.shape[0]!] : [b!.shape[0]!, b!.shape[1]!];
  check(op, k === inner, `the inner lengths ${k} and ${inner} differ`);
  checkType(op, "the output", op.outputs[0]!, "f32", [m, n]);
  if (bias !== undefined) checkType(op, "the bias", bias, "f32", [n]);
  return { m, n, k, transposeA, transposeB, ...(bias && { bias: 1 }), ...(activation && { activation }) };
}

export const matmulScratch = (op: OpSignature, provider: Pick<Provider, "scratchBytes">): number => {
  const shape = matmulShape(op);
  return shape.m === 0 || shape.n === 0 ? 0 : provider.scratchBytes(shape);
};

const bindMatmul: BindOp = ({ instruction, inputs, outputs, scratch, scratchBytes, context }) => {
  const { bias: hasBias, ...shape } = matmulShape(instruction);
  if (shape.m === 0 || shape.n === 0) return [];
  const [a, b, bias] = inputs;
  return [
    context.provider.matmul({
      ...shape,
      a: a!,
      b: b!,
      c: outputs[0]!,
      ...(hasBias !== undefined && { bias: bias! }),
      scratch,
      scratchBytes,
    }),
  ];
};

export const matmulOps = { matmul: bindMatmul };
