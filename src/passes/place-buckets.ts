// Puts the sums over ranks into the backward pass: each bucket starts on its way where it is told to.
import { bucketOutput } from "../program/buckets.ts";
import { ProgramBuilder } from "../program/builder.ts";
import type { Op, Program, ValueId } from "../program/ir.ts";
import type { BucketStart } from "./bucket-starts.ts";
import { definitionsOf } from "./edit.ts";

/** Parameters by when their gradients are ready. */
export function byReadiness(program: Program, gradients: Readonly<Record<string, ValueId>>): string[] {
  const definitions = definitionsOf(program.ops);
  const at = (name: string): number => definitions.get(gradients[name]!) ?? -1;
  return Object.keys(gradients).sort((a, b) => at(a) - at(b));
}

/** The program with a `bucket` op and an output for each bucket. @param starts of each, in their order */
export function placeBuckets(
  program: Program,
  gradients: Readonly<Record<string, ValueId>>,
  starts: readonly BucketStart[],
): Program {
  const builder = new ProgramBuilder(program);
  builder.scope = "exchange";
  for (const { bucket } of starts) {
    const inputs = bucket.parts.map(({ parameter }) => gradients[parameter]!);
    builder.output(bucketOutput(bucket), builder.emit("bucket", inputs, { name: bucket.name })[0]!);
  }
  const built = builder.build();
  const behind = new Map<number, Op[]>();
  for (const [i, op] of built.ops.slice(program.ops.length).entries()) {
    const { after } = starts[i]!;
    behind.set(after, [...(behind.get(after) ?? []), op]);
  }
  const ops = program.ops.flatMap((op, at) => [op, ...(behind.get(at) ?? [])]);
  return { ...built, ops: [...(behind.get(-1) ?? []), ...ops] };
}
