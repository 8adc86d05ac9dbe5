// Collectives of model-parallel programs: all ranks run the same program, each on tensors of its own. The loss of the whole is
// the sum of what the ranks compute, so the gradient of an all-reduce is an all-reduce, and so on. Parts of ranks lie along
// the first axis.
import { ProgramError, ShapeError } from "../errors.ts";
import type { OpAttrs, OpKind, OpOf, TensorType, ValueId } from "../ir.ts";
import {
  expectCount,
  expectType,
  f32,
  type GradientRequest,
  numbers,
  type OpDefinition,
  type ReferenceRequest,
} from "./definition.ts";

export type DistributedKind = "all_reduce" | "all_gather" | "reduce_scatter" | "broadcast" | "all_to_all";

/** Name of the collective of a gradient. */
const gradientName = ({ attrs }: OpOf<DistributedKind>): string => `${attrs.name}/gradient`;

function onlyInput(inputs: readonly TensorType[], { ranks }: { readonly ranks: number }): TensorType {
  expectCount(inputs, 1);
  const [x] = inputs as [TensorType];
  expectType(x, "f32", "the tensor");
  if (!Number.isInteger(ranks) || ranks < 1) throw new ShapeError(`ranks must be a positive integer, got ${ranks}`);
  return x;
}

/** The first axis, which all ranks have parts of. */
function divided({ shape }: TensorType, ranks: number): readonly number[] {
  const [first, ...rest] = shape;
  if (first === undefined || first % ranks !== 0) {
    throw new ShapeError(`${ranks} ranks cannot share the first axis of [${shape.join(",")}] evenly`);
  }
  return [first / ranks, ...rest];
}

type Across<K extends DistributedKind> = (requests: readonly ReferenceRequest<K>[]) => void;

/** The reference, of as many ranks as the program is for. */
function together<K extends DistributedKind>(compute: Across<K>): Pick<OpDefinition<K>, "reference" | "across"> {
  const across: Across<K> = (requests) => {
    const { ranks } = requests[0]!.attrs as OpAttrs[DistributedKind];
    if (requests.length !== ranks) {
      throw new ProgramError(`the program is for ${ranks} ranks, not ${requests.length}: use interpretRanks`);
    }
    compute(requests);
  };
  return { reference: (request) => across([request]), across };
}

const inputsOf = (requests: readonly ReferenceRequest<OpKind>[]): Float64Array[] =>
  requests.map(({ inputs }) => numbers(inputs[0]));
const outputsOf = (requests: readonly ReferenceRequest<OpKind>[]): Float64Array[] =>
  requests.map(({ outputs }) => numbers(outputs[0]));

function sums(inputs: readonly Float64Array[], op: "sum" | "max"): Float64Array {
  const combine = op === "sum" ? (a: number, b: number) => a + b : Math.max;
  return inputs[0]!.map((_, i) => inputs.map((x) => x[i]!).reduce((a, b) => combine(a, b)));
}

function reduceAcross(requests: readonly ReferenceRequest<"all_reduce">[]): void {
  const { op, root } = requests[0]!.attrs;
  const all = sums(inputsOf(requests), op);
  for (const [rank, y] of outputsOf(requests).entries()) if (root === undefined || rank === root) y.set(all);
}

/** x → its sum or maximum over the ranks, on all of them, or on `root` (the others have zeros). A maximum has no gradient. */
export const all_reduce: OpDefinition<"all_reduce"> = {
  infer(inputs, attrs) {
    const { shape } = onlyInput(inputs, attrs);
    expectRoot(attrs.root ?? 0, attrs.ranks);
    return [f32(...shape)];
  },
  gradient(request) {
    const { op } = request;
    if (op.attrs.op === "max") return [undefined];
    const { ranks, root } = op.attrs;
    if (root === undefined) return emit(request, "all_reduce", { name: gradientName(op), ranks, op: "sum" });
    return emit(request, "broadcast", { name: gradientName(op), ranks, root });
  },
  ...together(reduceAcross),
};

function gatherAcross(requests: readonly ReferenceRequest<"all_gather">[]): void {
  const parts = inputsOf(requests);
  for (const y of outputsOf(requests)) for (const [rank, part] of parts.entries()) y.set(part, rank * part.length);
}

/** x [N, ..] → [ranks · N, ..]: the parts of all ranks, in their order. */
export const all_gather: OpDefinition<"all_gather"> = {
  infer(inputs, attrs) {
    const { shape } = onlyInput(inputs, attrs);
    if (shape.length === 0) throw new ShapeError("a scalar has no first axis: reshape it to [1]");
    return [f32(shape[0]! * attrs.ranks, ...shape.slice(1))];
  },
  gradient: (request) =>
    emit(request, "reduce_scatter", { name: gradientName(request.op), ranks: request.op.attrs.ranks }),
  ...together(gatherAcross),
};

function scatterAcross(requests: readonly ReferenceRequest<"reduce_scatter">[]): void {
  const all = sums(inputsOf(requests), "sum");
  for (const [rank, y] of outputsOf(requests).entries()) y.set(all.subarray(rank * y.length, (rank + 1) * y.length));
}

/** x [ranks · N, ..] → [N, ..]: this rank's part of the sum over the ranks. */
export const reduce_scatter: OpDefinition<"reduce_scatter"> = {
  infer(inputs, attrs) {
    return [f32(...divided(onlyInput(inputs, attrs), attrs.ranks))];
  },
  gradient: (request) => emit(request, "all_gather", { name: gradientName(request.op), ranks: request.op.attrs.ranks }),
  ...together(scatterAcross),
};

function broadcastAcross(requests: readonly ReferenceRequest<"broadcast">[]): void {
  const x = inputsOf(requests)[requests[0]!.attrs.root]!;
  for (const y of outputsOf(requests)) y.set(x);
}

/** x → what `root` has. */
export const broadcast: OpDefinition<"broadcast"> = {
  infer(inputs, attrs) {
    const { shape } = onlyInput(inputs, attrs);
    expectRoot(attrs.root, attrs.ranks);
    return [f32(...shape)];
  },
  gradient(request) {
    const { ranks, root } = request.op.attrs;
    return emit(request, "all_reduce", { name: gradientName(request.op), ranks, op: "sum", root });
  },
  ...together(broadcastAcross),
};

function exchangeAcross(requests: readonly ReferenceRequest<"all_to_all">[]): void {
  const inputs = inputsOf(requests);
  for (const [rank, y] of outputsOf(requests).entries()) {
    const part = y.length / requests.length;
    for (const [from, x] of inputs.entries()) y.set(x.subarray(rank * part, (rank + 1) * part), from * part);
  }
}

/** x [ranks · N, ..] → as many: part i goes to rank i, and part j comes from rank j. */
export const all_to_all: OpDefinition<"all_to_all"> = {
  infer(inputs, attrs) {
    const x = onlyInput(inputs, attrs);
    divided(x, attrs.ranks);
    return [f32(...x.shape)];
  },
  gradient: (request) => emit(request, "all_to_all", { name: gradientName(request.op), ranks: request.op.attrs.ranks }),
  ...together(exchangeAcross),
};

function emit<K extends DistributedKind>(
  { builder, outputGradients }: GradientRequest<DistributedKind>,
  kind: K,
  attrs: OpAttrs[K],
): ValueId[] {
  return builder.emit(kind, [outputGradients[0]!], attrs);
}

function expectRoot(root: number, ranks: number): void {
  if (!Number.isInteger(root) || root < 0 || root >= ranks) {
    throw new ShapeError(`root must be a rank from 0 to ${ranks - 1}, got ${root}`);
  }
}
