// matmul and batch_matmul: a · b, with an optional bias and activation, by the provider.
import { permuted, stridesOf } from "../geometry.ts";
import type { FloatType } from "../plan.ts";
import type { Activation, MatmulShape, Provider } from "../provider.ts";
import { check, checkArity, checkType, type OpSignature, sameShape, sizeOf, type TensorType } from "../tensor.ts";
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
  check(
    op,
    activation === undefined || ACTIVATIONS.includes(activation),
    `activation must be one of ${ACTIVATIONS.join(", ")}, got ${JSON.stringify(activation)}`,
  );
  const [m, k] = transposeA ? [a!.shape[1]!, a!.shape[0]!] : [a!.shape[0]!, a!.shape[1]!];
  const [inner, n] = transposeB ? [b!.shape[1]!, b!.shape[0]!] : [b!.shape[0]!, b!.shape[1]!];
  check(op, k === inner, `the inner lengths ${k} and ${inner} differ`);
  const types = floatTypes(op, a!, b!, op.outputs[0]!);
  checkType(op, "the output", op.outputs[0]!, types.c, [m, n]);
  if (bias !== undefined) checkType(op, "the bias", bias, "f32", [n]);
  return {
    ...{ m, n, k, transposeA, transposeB, types },
    ...(bias && { bias: 1 }),
    ...(activation && { activation }),
  };
}

const isFloat = (dtype: string): dtype is FloatType => dtype === "f32" || dtype === "bf16" || dtype === "f16";

/** The types of two operands and a result. */
function floatTypes(op: OpSignature, a: TensorType, b: TensorType, c: TensorType): NonNullable<MatmulShape["types"]> {
  const [x, y, z] = [a, b, c].map(({ dtype }) => {
    check(op, isFloat(dtype), `${op.kind} takes f32, bf16 or f16, got ${dtype}`);
    return dtype as FloatType;
  }) as [FloatType, FloatType, FloatType];
  return { a: x, b: y, c: z };
}

interface BatchAttrs {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly permA?: readonly number[];
  readonly permB?: readonly number[];
  readonly permC?: readonly number[];
}

/** The spec of a batch_matmul but for its addresses: operands as they lie in memory, by strides. */
export function batchMatmulShape(op: OpSignature): MatmulShape {
  checkArity(op, 2, 1);
  const [a, b] = op.inputs as [TensorType, TensorType];
  const [c] = op.outputs as [TensorType];
  const attrs = op.attrs as unknown as BatchAttrs;
  const logical = [permuted(a.shape, attrs.permA), permuted(b.shape, attrs.permB), permuted(c.shape, attrs.permC)];
  const [left, right, result] = logical as [readonly number[], readonly number[], readonly number[]];
  const batch = result.slice(0, -2);
  const [m, n] = result.slice(-2) as [number, number];
  const k = left.at(attrs.transposeA ? -2 : -1)!;
  const fits = (shape: readonly number[], rows: number, columns: number, transposed: boolean): boolean =>
    sameShape(shape, [...batch, ...(transposed ? [columns, rows] : [rows, columns])]);
  check(op, fits(left, m, k, attrs.transposeA), `the left operand [${left}] does not fit the result [${result}]`);
  check(op, fits(right, k, n, attrs.transposeB), `the right operand [${right}] does not fit the left one [${left}]`);
  const ordered = (strides: readonly number[], transposed: boolean): number[] => {
    const [row, column] = strides.slice(-2) as [number, number];
    return [...strides.slice(0, -2), ...(transposed ? [column, row] : [row, column])];
  };
  return {
    ...{ m, n, k, batch, transposeA: false, transposeB: false, types: floatTypes(op, a, b, c) },
    strides: {
      a: ordered(stridesOf(a.shape, attrs.permA), attrs.transposeA),
      b: ordered(stridesOf(b.shape, attrs.permB), attrs.transposeB),
      c: stridesOf(c.shape, attrs.permC),
    },
  };
}

export const matmulScratch = (op: OpSignature, provider: Pick<Provider, "scratchBytes">): number => {
  const shape = op.kind === "matmul" ? matmulShape(op) : batchMatmulShape(op);
  return isEmpty(op) ? 0 : provider.scratchBytes(shape);
};

const isEmpty = (op: OpSignature): boolean => sizeOf(op.outputs[0]!.shape) === 0;

const bindMatmul: BindOp = ({ instruction, inputs, outputs, scratch, scratchBytes, context }) => {
  const { bias: hasBias, ...shape } =
    instruction.kind === "matmul" ? matmulShape(instruction) : batchMatmulShape(instruction);
  if (isEmpty(instruction)) return [];
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

export const matmulOps = { matmul: bindMatmul, batch_matmul: bindMatmul };
