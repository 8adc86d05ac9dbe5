// Which gradients of a model travel together, and which of them compressed.
import { byReadiness } from "../../passes/index.ts";
import {
  type Bucket,
  type Differentiated,
  type Program,
  planBuckets,
  type RowGradient,
  type UpdateRules,
} from "../../program/index.ts";
import type { Strategy } from "../strategy.ts";

/** Which gradients deep gradient compression is for: long ones, where there is someone to send them to. */
export function compressedIn(
  { parameters, values }: Program,
  { dgc }: Strategy,
  ranks: number,
): (parameter: string) => boolean {
  if (dgc === undefined || ranks === 1) return () => false;
  const sizeOf = (name: string): number => values[parameters[name]!.value]!.shape.reduce((a, b) => a * b, 1);
  return (name) => sizeOf(name) >= dgc.minElements;
}

/** Where updates run in the next step, buckets have an order of their own: short ones overtake sooner. */
const LATE_SHARE = 1 / 24;

export interface BucketChoice {
  readonly strategy: Strategy;
  /** Whether a gradient goes compressed, in a bucket with others of its kind. */
  readonly sparse: (parameter: string) => boolean;
  /** Of which gradients ranks send each other rows. */
  readonly rows: ReadonlyMap<string, RowGradient>;
  /** Whether updates run in the next step. */
  readonly late: boolean;
}

/**
 * Whether the update of a step may run in the next one: not where it needs all gradients before it moves the first parameter, or
 * what it needs beside them is overwritten by the next step.
 */
export const mayBeLate = ({ amp, clip, debug, dgc, elastic }: Strategy): boolean =>
  amp !== "fp16" &&
  (clip === undefined || !("globalNorm" in clip)) &&
  debug?.nan !== true &&
  dgc === undefined &&
  elastic === undefined;

/** The gradients of what optimizers move, in the order in which they are ready. */
export function bucketsOf(
  { program, gradients }: Differentiated,
  rules: UpdateRules,
  { strategy: { fuseBytes, lastBucketBytes }, sparse: compressed, rows, late }: BucketChoice,
): Bucket[] {
  const shapeOf = (name: string): readonly number[] => program.values[program.parameters[name]!.value]!.shape;
  const all = byReadiness(program, gradients)
    .filter((name) => rules.parameter(name, program.parameters[name]!) !== undefined)
    .map((parameter) => ({ parameter, shape: shapeOf(parameter) }));
  const kindOf = ({ parameter }: (typeof all)[number]): "dense" | "rows" | "compressed" =>
    compressed(parameter) ? "compressed" : rows.has(parameter) ? "rows" : "dense";
  const { dense = [], rows: touched = [], compressed: long = [] } = Object.groupBy(all, kindOf);
  return [
    ...planBuckets(dense, { fuseBytes, lastBucketBytes, ...(late && { share: LATE_SHARE }) }),
    ...touched.map((gradient, i): Bucket => {
      const [bucket] = planBuckets([gradient]);
      return { ...bucket!, name: `rows ${i}: ${gradient.parameter}`, rows: rows.get(gradient.parameter)! };
    }),
    ...planBuckets(long, { fuseBytes, lastBucketBytes, compressed: true }),
  ];
}
