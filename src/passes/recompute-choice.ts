// Which results of the forward pass to keep: the cheap ones go first, by the arithmetic that a freed byte costs, as long as
// the step's peak of memory falls. Like values (the same place in repeated layers) go together; where that makes chains too
// long to compute again at once, every k-th stays.
import type { Op, ValueId } from "../program/ir.ts";
import { workOf } from "./op-work.ts";
import { PeakMeter } from "./peak.ts";
import { type Forward, rematerialize } from "./rematerialize.ts";

/** Share of the step's work that may be done twice: throughput falls by about a sixth. */
const LARGEST_SHARE = 0.2;

/** Groups with less than this share of the peak are not worth a look. */
const SMALLEST_GROUP = 0.002;

/** Of a chain, every how many members may stay. */
const STRIDES = [2, 3, 4, 6, 8, 12, 16] as const;

interface State {
  readonly kept: ReadonlySet<ValueId>;
  readonly peak: number;
}

/** The values to keep, by memory. */
export function chooseKept(forward: Forward): ReadonlySet<ValueId> {
  const { program, saved } = forward;
  const meter = new PeakMeter(program);
  const works = new Map<Op, number>();
  const work = (op: Op): number => {
    const known = works.get(op) ?? workOf(program, op);
    works.set(op, known);
    return known;
  };
  const limit = LARGEST_SHARE * program.ops.reduce((sum, op) => sum + work(op), 0);
  const measure = (kept: ReadonlySet<ValueId>): State | undefined => {
    const { program: next, repeated } = rematerialize(forward, kept);
    if (repeated.reduce((sum, op) => sum + work(op), 0) > limit) return undefined;
    return { kept, peak: meter.peakOf(next) };
  };
  let state: State = { kept: new Set(saved), peak: meter.peakOf(program) };
  const groups = groupsOf(forward, meter, work).filter(({ bytes }) => bytes >= SMALLEST_GROUP * state.peak);
  // A group that gains nothing at first may gain when the others have gone.
  for (let round = 0; round < 2; round++) {
    for (const { members } of groups) {
      if (!members.some((id) => state.kept.has(id))) continue;
      const next = best(
        [1, ...STRIDES].filter((stride) => stride === 1 || stride < members.length),
        (stride) => measure(thinned(state.kept, members, stride)),
      );
      if (next !== undefined && next.peak < state.peak) state = next;
    }
  }
  return state.kept;
}

/** Without the members of a group, but for the last of each `stride` of them. */
function thinned(kept: ReadonlySet<ValueId>, members: readonly ValueId[], stride: number): Set<ValueId> {
  const next = new Set(kept);
  for (const [i, id] of members.entries()) if (stride === 1 || i % stride !== stride - 1) next.delete(id);
  return next;
}

function best(strides: readonly number[], measure: (stride: number) => State | undefined): State | undefined {
  let found: State | undefined;
  for (const stride of strides) {
    const state = measure(stride);
    if (state !== undefined && (found === undefined || state.peak < found.peak)) found = state;
  }
  return found;
}

interface Group {
  readonly members: readonly ValueId[];
  readonly bytes: number;
  /** Work to compute the members again from what is kept now. */
  readonly work: number;
}

/** Saved values by shape and place in the model, the cheapest a byte first. */
function groupsOf(forward: Forward, meter: PeakMeter, work: (op: Op) => number): Group[] {
  const { program, definitions, saved } = forward;
  const alike = Map.groupBy(saved, (id) => {
    const op = program.ops[definitions.get(id)!]!;
    const { shape, dtype } = program.values[id]!;
    return `${op.kind} ${op.outputs.indexOf(id)} ${dtype} ${shape} ${op.scope.replaceAll(/\d+/g, "#")}`;
  });
  return [...alike.values()]
    .map((members): Group => {
      const kept = new Set(saved);
      for (const id of members) kept.delete(id);
      return {
        members,
        bytes: members.reduce((sum, id) => sum + meter.bytesOf(id), 0),
        work: closureWork(forward, members, kept, work),
      };
    })
    .sort((a, b) => a.work / a.bytes - b.work / b.bytes);
}

/** The work of computing values again from kept ones. */
function closureWork(
  { program, definitions, memory }: Forward,
  members: readonly ValueId[],
  kept: ReadonlySet<ValueId>,
  work: (op: Op) => number,
): number {
  const seen = new Set<number>();
  let sum = 0;
  const visit = (id: ValueId): void => {
    const at = definitions.get(id);
    if (at === undefined || seen.has(at) || kept.has(memory(id))) return;
    seen.add(at);
    sum += work(program.ops[at]!);
    for (const input of program.ops[at]!.inputs) visit(input);
  };
  for (const id of members) visit(id);
  return sum;
}
