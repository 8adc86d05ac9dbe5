// The ring (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms", 2009): every rank sends to the next one only. In
// P - 1 steps each part goes once around and is reduced on its way, in P - 1 more its result goes around.
// Steps 2(P - 1), bytes per rank 2S(P - 1)/P. Long parts go as segments, so that a part is sent on while the rest arrives.
import {
  exchange,
  finishing,
  modulo,
  partOf,
  type Range,
  type Schedule,
  type ScheduleRequest,
  type Step,
} from "../schedule.ts";

/** Ranks that form a ring, and which of them this one is. */
export interface Circle {
  readonly members: readonly number[];
  readonly index: number;
}

/** All ranks of a group in order. */
export const everyone = ({ rank, size }: ScheduleRequest): Circle => ({
  members: Array.from({ length: size }, (_, i) => i),
  index: rank,
});

const turns = (
  { members, index }: Circle,
  range: Range,
  segment: number,
  firstPart: number,
  reduce: boolean,
): Step[] => {
  const size = members.length;
  const part = (i: number): Range => partOf(range, size, modulo(i, size));
  const next = members[modulo(index + 1, size)]!;
  const previous = members[modulo(index - 1, size)]!;
  return Array.from({ length: size - 1 }, (_, turn) =>
    exchange(
      { ...part(firstPart - turn), peer: next },
      { ...part(firstPart - turn - 1), peer: previous, reduce },
      segment,
    ),
  ).flat();
};

/** After these steps member i has the reduced part i of the range. */
export const ringReduceScatter = (circle: Circle, range: Range, segment: number): Step[] =>
  turns(circle, range, segment, circle.index - 1, true);

/** Before these steps member i has part i of the range, after them everyone has all of it. */
export const ringAllGather = (circle: Circle, range: Range, segment: number): Step[] =>
  turns(circle, range, segment, circle.index, false);

export const ownPart = ({ members, index }: Circle, range: Range): Range => partOf(range, members.length, index);

/** An all-reduce among the members of a circle. */
export const ringAmong = (circle: Circle, range: Range, segment: number): Step[] => [
  ...ringReduceScatter(circle, range, segment),
  finishing(ownPart(circle, range)),
  ...ringAllGather(circle, range, segment),
];

export function ring(request: ScheduleRequest): Schedule {
  const range = { start: 0, count: request.count };
  return { into: "data", steps: ringAmong(everyone(request), range, request.segment) };
}
