// Which algorithm does a call: the one that the caller names, else the fastest by the cost model.
import { type Algorithm, type Call, type CallOptions, checkCall, type DecidedCall, elementBytes } from "./call.ts";
import { fastestAllReduce, fastestBroadcast, type Links } from "./cost-model.ts";

/** What a decision depends on; the same on all ranks. */
export interface Decider {
  readonly size: number;
  readonly links: Links;
  /** Whether ranks read each other's memory. */
  readonly shared: boolean;
}

/** @throws RangeError for wrong options, and for an algorithm that cannot be had here */
export function decideCall(options: CallOptions, decider: Decider): DecidedCall {
  const call = checkCall(options, decider.size);
  const algorithm = call.algorithm === "auto" ? fastest(call, decider) : (call.algorithm as Algorithm);
  if (algorithm === "shared" && (!decider.shared || call.wire !== "f32")) {
    throw new RangeError('all-reduce: algorithm shared needs memory that ranks share, and wire f32; take "auto"');
  }
  if (algorithm !== "hierarchical" && algorithm !== "torus") return { ...call, algorithm, groupSize: undefined };
  const groupSize = call.groupSize ?? (algorithm === "torus" ? squarest(decider.size) : decider.links.groupSize);
  return { ...call, algorithm, groupSize };
}

function fastest(call: Call, { size, links, shared }: Decider): Algorithm {
  const { collective, count, dtype, wire } = call;
  const bytes = count * (wire === "f32" ? elementBytes[dtype] : 2);
  const groupSize = call.groupSize ?? links.groupSize;
  const situation = { size, bytes, links: { ...links, groupSize }, shared, halfWire: wire !== "f32" };
  switch (collective) {
    case "all-reduce":
      return fastestAllReduce(situation);
    case "broadcast":
      return fastestBroadcast(situation);
    case "all-gather":
    case "reduce-scatter":
      return groupSize < size ? "ring" : "direct";
    case "all-to-all":
      return "pairwise";
    case "barrier":
      return "dissemination";
    default:
      return collective satisfies never;
  }
}

/** The largest divisor that is no more than the square root: rows and columns are as alike as can be. */
function squarest(size: number): number {
  let best = 1;
  for (let divisor = 1; divisor * divisor <= size; divisor++) if (size % divisor === 0) best = divisor;
  return best;
}
