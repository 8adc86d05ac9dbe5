// Everyone with everyone: each rank sends part i of its data straight to rank i, which reduces them in the order of the
// ranks and sends the result to all. Steps 2, messages 2(P - 1), bytes per rank 2S(P - 1)/P. The best on links that carry
// all pairs at once, shared memory above all; half precision rounds each contribution once and the result once.
// Segments are reduced while the next ones are under way.
import { modulo, partOf, type Range, type Schedule, type ScheduleRequest, type Step, segments } from "../schedule.ts";
import { type Circle, everyone, ownPart } from "./ring.ts";

/** Peers in the order in which `index` sends: each step of all ranks together is a permutation. */
const others = ({ members, index }: Circle): number[] =>
  Array.from({ length: members.length - 1 }, (_, i) => modulo(index + 1 + i, members.length));

interface Parts {
  /** Segment i of each member's part; missing where the part is shorter. */
  of(member: number, i: number): Range | undefined;
  readonly length: number;
}

function partsOf(circle: Circle, range: Range, segment: number): Parts {
  const all = circle.members.map((_, member) => segments(partOf(range, circle.members.length, member), segment));
  return { of: (member, i) => all[member]![i], length: Math.max(...all.map(({ length }) => length)) };
}

/** Segment i of each part goes to its owner, which reduces it. */
function contribute(circle: Circle, parts: Parts, i: number): Step {
  const { members, index } = circle;
  const own = parts.of(index, i);
  return {
    sends: others(circle).flatMap((member) => withPeer(parts.of(member, i), members[member]!)),
    receives:
      own === undefined ? [] : members.filter((_, m) => m !== index).map((peer) => ({ ...own, peer, reduce: true })),
  };
}

/** Segment i of each part goes from its owner to everyone. */
function distribute(circle: Circle, parts: Parts, i: number): Step {
  const { members, index } = circle;
  const own = parts.of(index, i);
  return {
    sends: own === undefined ? [] : others(circle).map((member) => ({ ...own, peer: members[member]! })),
    receives: others(circle)
      .toReversed()
      .flatMap((member) => withPeer(parts.of(member, i), members[member]!).map((r) => ({ ...r, reduce: false }))),
  };
}

const withPeer = (range: Range | undefined, peer: number): (Range & { peer: number })[] =>
  range === undefined ? [] : [{ ...range, peer }];

const finished = (step: Step, own: Range | undefined): Step => (own === undefined ? step : { ...step, finish: [own] });

/** After these steps member i has the reduced part i of the range. */
export function directReduceScatter(circle: Circle, range: Range, segment: number): Step[] {
  const parts = partsOf(circle, range, segment);
  return Array.from({ length: parts.length }, (_, i) => contribute(circle, parts, i));
}

/** Before these steps member i has part i of the range, after them everyone has all of it. */
export function directAllGather(circle: Circle, range: Range, segment: number): Step[] {
  const parts = partsOf(circle, range, segment);
  return Array.from({ length: parts.length }, (_, i) => distribute(circle, parts, i));
}

/** Contributions run one segment ahead of results, so that nobody waits for a reduction that another has just begun. */
export function direct(request: ScheduleRequest): Schedule {
  const circle = everyone(request);
  const range = { start: 0, count: request.count };
  if (request.size === 1)
    return { into: "data", steps: [{ sends: [], receives: [], finish: [ownPart(circle, range)] }] };
  const parts = partsOf(circle, range, request.segment);
  const steps: Step[] = [];
  for (let i = 0; i <= parts.length; i++) {
    if (i < parts.length) steps.push(finished(contribute(circle, parts, i), parts.of(circle.index, i)));
    if (i > 0) steps.push(distribute(circle, parts, i - 1));
  }
  return { into: "data", steps };
}
