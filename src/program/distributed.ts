// Functions of tensors over ranks, for layers whose parts are on several of them. Every rank runs the same program; the
// gradients are those of the sum of all ranks' losses. Parts of ranks lie along the first axis.
import type { OpAttrs } from "./ir.ts";
import type { DistributedKind } from "./ops/distributed.ts";
import { emit, type Tensor } from "./tensor.ts";

export interface AllReduceOptions {
  /** Default "sum". A maximum has no gradient. */
  readonly op?: "sum" | "max";
}

export interface BroadcastOptions {
  /** Default 0. */
  readonly root?: number;
}

function collective<K extends DistributedKind>(kind: K, x: Tensor, attrs: Omit<OpAttrs[K], "name" | "ranks">): Tensor {
  const { trace } = x;
  const named = { name: `${kind} ${trace.nextCollective()}`, ranks: trace.ranks, ...attrs };
  // `kind` and `attrs` belong together by the signature.
  return emit(trace, kind, [x], named as unknown as OpAttrs[K])[0]!;
}

/** The sum or maximum over the ranks, on all of them. */
export function allReduce(x: Tensor, { op = "sum" }: AllReduceOptions = {}): Tensor {
  return collective("all_reduce", x, { op });
}

/** x [N, ..] → [ranks · N, ..]. */
export function allGather(x: Tensor): Tensor {
  return collective("all_gather", x, {});
}

/** x [ranks · N, ..] → [N, ..]: this rank's part of the sum over the ranks. */
export function reduceScatter(x: Tensor): Tensor {
  return collective("reduce_scatter", x, {});
}

/** What `root` has. */
export function broadcast(x: Tensor, { root = 0 }: BroadcastOptions = {}): Tensor {
  return collective("broadcast", x, { root });
}

/** x [ranks · N, ..]: part i goes to rank i, part j comes from rank j. */
export function allToAll(x: Tensor): Tensor {
  return collective("all_to_all", x, {});
}
