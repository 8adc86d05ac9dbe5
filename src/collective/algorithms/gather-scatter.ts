// Reduce-scatter and all-gather alone, in place: rank i owns part i (`partOf`). By ring, or everyone with everyone.
// P - 1 steps or one, S(P - 1)/P bytes per rank.
import { finishing, type Schedule, type ScheduleRequest } from "../schedule.ts";
import { directAllGather, directReduceScatter } from "./direct.ts";
import { everyone, ownPart, ringAllGather, ringReduceScatter } from "./ring.ts";

export type GatherAlgorithm = "ring" | "direct";

/** Afterwards rank i has the reduced part i; the other parts of its data are used up. */
export function reduceScatter(request: ScheduleRequest, algorithm: GatherAlgorithm): Schedule {
  const circle = everyone(request);
  const range = { start: 0, count: request.count };
  const steps = algorithm === "ring" ? ringReduceScatter : directReduceScatter;
  return {
    into: "data",
    steps: [...steps(circle, range, request.segment), finishing(ownPart(circle, range))],
  };
}

/** Beforehand rank i has part i, afterwards everyone has all. */
export function allGather(request: ScheduleRequest, algorithm: GatherAlgorithm): Schedule {
  const circle = everyone(request);
  const range = { start: 0, count: request.count };
  const steps = algorithm === "ring" ? ringAllGather : directAllGather;
  return {
    into: "data",
    steps: [finishing(ownPart(circle, range)), ...steps(circle, range, request.segment)],
  };
}
