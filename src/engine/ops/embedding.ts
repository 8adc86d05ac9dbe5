// embedding and embedding_grad: rows of a dense matrix by ids.
import { instantiate } from "../../memory/index.ts";
import { bytesOf } from "../plan.ts";
import { check, checkArity, checkType, type OpSignature, sizeOf, type TensorType } from "../tensor.ts";
import { type BindOp, type BoundOp, call } from "./op.ts";

type EmbeddingKernels = Record<"gatherRows" | "addRows", (...args: number[]) => void>;

const kernels = ({ context }: BoundOp): EmbeddingKernels => instantiate<EmbeddingKernels>("embedding", context.heap);

function checkIds(op: OpSignature, ids: TensorType): void {
  check(op, ids.dtype === "i32" || ids.dtype === "u32", `ids must be i32 or u32, got ${ids.dtype}`);
}

const bindEmbedding: BindOp = (op) => {
  const { instruction } = op;
  checkArity(instruction, 2, 1);
  const weights: TensorType = instruction.inputs[0]!;
  const ids: TensorType = instruction.inputs[1]!;
  checkIds(instruction, ids);
  check(instruction, weights.shape.length === 2, "the weights must have rank 2");
  const [rows, dim] = weights.shape as [number, number];
  const { dtype } = weights;
  check(
    instruction,
    dtype === "f32" || dtype === "bf16" || dtype === "f16",
    `the weights must be floats, got ${dtype}`,
  );
  checkType(instruction, "the output", instruction.outputs[0]!, dtype, [...ids.shape, dim]);
  return [call(kernels(op).gatherRows, ...op.inputs, op.outputs[0]!, sizeOf(ids.shape), rows, dim * bytesOf[dtype])];
};

const bindEmbeddingGrad: BindOp = (op) => {
  const { instruction } = op;
  checkArity(instruction, 2, 1);
  const ids: TensorType = instruction.inputs[0]!;
  const dy: TensorType = instruction.inputs[1]!;
  checkIds(instruction, ids);
  const rows = instruction.attrs.rows as number;
  const dim = dy.shape.at(-1) ?? 0;
  checkType(instruction, "the gradient", dy, "f32", [...ids.shape, dim]);
  checkType(instruction, "the output", instruction.outputs[0]!, "f32", [rows, dim]);
  return [call(kernels(op).addRows, ...op.inputs, op.outputs[0]!, sizeOf(ids.shape), rows, dim)];
};

export const embeddingOps = { embedding: bindEmbedding, embedding_grad: bindEmbeddingGrad };
