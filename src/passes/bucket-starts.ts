// When buckets start on their way: as soon as they are full, or in such an order that what the next forward pass reads first
// is there first, though its gradients are the last to be ready.
import type { Bucket } from "../program/buckets.ts";
import type { Program, ValueId } from "../program/ir.ts";
import { definitionsOf, usesOf } from "./edit.ts";
import { workOf } from "./op-work.ts";

export interface BucketStart {
  readonly bucket: Bucket;
  /** The op behind which it starts; −1: the first one of the program. */
  readonly after: number;
}

/** A bucket on its way, in times that count a step as 1. */
interface Job {
  readonly bucket: Bucket;
  /** The op behind which it is full. */
  readonly after: number;
  /** When it may start, how long it takes, and when the next step reads it. */
  readonly release: number;
  readonly length: number;
  readonly due: number;
}

interface Schedule {
  readonly jobs: readonly { readonly job: Job; readonly start: number; readonly end: number }[];
  /** How long the step waits for what is late. */
  readonly late: number;
}

/**
 * What all buckets together take on the wire, in times of what the step computes. Where the wire takes much less, any order
 * hides it; where it takes more, none does.
 */
const WIRE_SHARE = 1;

/** Each bucket behind its last gradient. */
export function startsWhenFull(
  program: Program,
  gradients: Readonly<Record<string, ValueId>>,
  buckets: readonly Bucket[],
): BucketStart[] {
  const definitions = definitionsOf(program.ops);
  const fullAt = ({ parts }: Bucket): number =>
    Math.max(-1, ...parts.map(({ parameter }) => definitions.get(gradients[parameter]!) ?? -1));
  return buckets.map((bucket) => ({ bucket, after: fullAt(bucket) }));
}

/**
 * For steps whose updates run in the next forward pass. The times of ops and of the wire are guessed, so that all ranks have one
 * order; a bucket then waits for those before it.
 */
export function startsByNeed(
  program: Program,
  gradients: Readonly<Record<string, ValueId>>,
  buckets: readonly Bucket[],
): BucketStart[] {
  const { ops, parameters } = program;
  const ends = ops.map((op) => workOf(program, op));
  for (let at = 1; at < ends.length; at++) ends[at]! += ends[at - 1]!;
  const total = ends.at(-1) ?? 1;
  const timeBehind = (at: number): number => (ends[at] ?? 0) / total;
  const { readers } = usesOf(ops, program.outputs);
  const readAt = ({ parts }: Bucket): number =>
    Math.min(...parts.map(({ parameter }) => readers.get(parameters[parameter]!.value)?.[0] ?? ops.length));
  const lengthOf = ({ rows, length }: Bucket): number => rows?.length ?? length;
  const elements = buckets.reduce((sum, bucket) => sum + lengthOf(bucket), 0);
  const jobs = startsWhenFull(program, gradients, buckets).map(({ bucket, after }) => ({
    ...{ bucket, after, release: timeBehind(after), due: 1 + timeBehind(readAt(bucket) - 1) },
    length: (WIRE_SHARE * lengthOf(bucket)) / elements,
  }));
  let last = -1;
  return leastLate(jobs).map(({ job: { bucket, after }, start }) => {
    const running = ends.findIndex((end) => end / total > start);
    last = Math.max(last, after, running < 0 ? ops.length - 1 : running - 1);
    return { bucket, after: last };
  });
}

/** Schrage's rule, and as long as it pays Carlier's correction: what held up the latest bucket may start only when that is full. */
function leastLate(jobs: readonly Job[]): Schedule["jobs"] {
  let [all, current] = [jobs, byDueDate(jobs)];
  let best = current;
  for (let tries = jobs.length; tries > 0; tries--) {
    const { jobs: list } = current;
    const latest = list.reduce((worst, each) => (lateness(each) > lateness(worst) ? each : worst));
    const before = list.slice(0, list.indexOf(latest));
    const culprit = before.findLast(({ job, end }) => job.due > latest.job.due && end > latest.job.release);
    if (culprit === undefined) break;
    all = all.map((job) => (job.bucket === culprit.job.bucket ? { ...job, release: latest.job.release } : job));
    current = byDueDate(all);
    if (current.late < best.late) best = current;
  }
  return best.jobs;
}

const lateness = ({ job, end }: Schedule["jobs"][number]): number => end - job.due;

/** Whenever the wire is free, it takes the full bucket that is needed first. */
function byDueDate(jobs: readonly Job[]): Schedule {
  const left = [...jobs];
  const done: { job: Job; start: number; end: number }[] = [];
  for (let now = 0; left.length > 0; now = done.at(-1)!.end) {
    const start = Math.max(now, Math.min(...left.map(({ release }) => release)));
    const ready = left.filter(({ release }) => release <= start);
    const job = ready.reduce((first, each) => (each.due < first.due ? each : first));
    left.splice(left.indexOf(job), 1);
    done.push({ job, start, end: start + job.length });
  }
  return { jobs: done, late: Math.max(0, ...done.map(lateness)) };
}
