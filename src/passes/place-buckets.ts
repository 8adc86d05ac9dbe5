// Puts the sums over ranks into the backward pass: each bucket starts on its way as soon as its last gradient is there.
import { type Bucket, bucketOutput } from "../program/buckets.ts";
import { ProgramBuilder } from "../program/builder.ts";
import type { Op, Program, ValueId } from "../program/ir.ts";
import { definitionsOf } from "./edit.ts";

/** Parameters by when their gradients are ready. */
export function byReadiness(program: Program, gradients: Readonly<Record<string, ValueId>>): string[] {
  const definitions = definitionsOf(program.ops);
  const at = (name: string): number => definitions.get(gradients[name]!) ?? -1;
  return Object.keys(gradients).sort((a, b) => at(a) - at(b));
}

/** The program with a `bucket` op and an output for each bucket. */
export function placeBuckets(
  program: Program,
  gradients: Readonly<Record<string, ValueId>>,
  buckets: readonly Bucket[],
): Program {
  const builder = new ProgramBuilder(program);
  builder.scope = "exchange";
  for (const bucket of buckets) {
    const inputs = bucket.parts.map(({ parameter }) => gradients[parameter]!);
    builder.output(bucketOutput(bucket), builder.emit("bucket", inputs, { name: bucket.name })[0]!);
  }
  const built = builder.build();
  const definitions = definitionsOf(program.ops);
  const behind = new Map<number, Op[]>();
  for (const op of built.ops.slice(program.ops.length)) {
    const last = Math.max(-1, ...op.inputs.map((id) => definitions.get(id) ?? -1));
    behind.set(last, [...(behind.get(last) ?? []), op]);
  }
  const ops = program.ops.flatMap((op, at) => [op, ...(behind.get(at) ?? [])]);
  return { ...built, ops: [...(behind.get(-1) ?? []), ...ops] };
}
