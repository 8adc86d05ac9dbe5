// Which gradients of a model travel together, and which of them compressed.
import { byReadiness } from "../../passes/index.ts";
import { type Bucket, type Differentiated, type Program, planBuckets, type UpdateRules } from "../../program/index.ts";
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

/**
 * The gradients of what optimizers move, in the order in which they are ready.
 * @param compressed which of them go compressed, in buckets of their own
 */
export function bucketsOf(
  { program, gradients }: Differentiated,
  rules: UpdateRules,
  { fuseBytes, lastBucketBytes }: Strategy,
  compressed: (parameter: string) => boolean,
): Bucket[] {
  const shapeOf = (name: string): readonly number[] => program.values[program.parameters[name]!.value]!.shape;
  const all = byReadiness(program, gradients)
    .filter((name) => rules.parameter(name, program.parameters[name]!) !== undefined)
    .map((parameter) => ({ parameter, shape: shapeOf(parameter) }));
  const [sparse, dense] = [true, false].map((which) => all.filter(({ parameter }) => compressed(parameter) === which));
  return [
    ...planBuckets(dense!, { fuseBytes, lastBucketBytes }),
    ...planBuckets(sparse!, { fuseBytes, lastBucketBytes, compressed: true }),
  ];
}
