// The program by which ranks that have trained apart for some steps take the mean of what each has changed (LocalSGD,
// arXiv 1808.07217): Δ = snapshot − w; w = snapshot − Σ share·Δ over the ranks; snapshot = w.
import { input, mul, sub } from "../kernels/expr.ts";
import { type Bucket, bucketOutput } from "./buckets.ts";
import { ProgramBuilder } from "./builder.ts";
import type { Program, ValueId } from "./ir.ts";
import { sizeOf } from "./ir.ts";

/** Name of the parameter that has a parameter's value after the last mean. */
export const snapshotName = (parameter: string): string => `${parameter}/snapshot`;

/** The rank-0 input: which part of the sum this rank's changes are. */
export const SHARE = "scalar:rankShare";

/** @param program that declares the parameters of the buckets */
export function averageParameters(program: Program, buckets: readonly Bucket[]): Program {
  const builder = new ProgramBuilder();
  builder.scope = "average";
  const share = builder.input(SHARE, { shape: [], dtype: "f32" });
  const places = new Map<string, { readonly weight: ValueId; readonly snapshot: ValueId }>();
  const started = buckets.map((bucket) => {
    const changes = bucket.parts.map(({ parameter, shape }) => {
      const { init, trainable, group } = program.parameters[parameter]!;
      const weight = builder.parameter(parameter, shape, init, { trainable, group });
      const copy = { kind: "copy", of: parameter } as const;
      const hidden = { trainable: false, group: "snapshot" };
      const snapshot = builder.parameter(snapshotName(parameter), shape, copy, hidden);
      places.set(parameter, { weight, snapshot });
      const change = mul(sub(input(0), input(1)), input(2));
      return builder.emit("map", [snapshot, weight, share], { exprs: [change] })[0]!;
    });
    const sum = builder.emit("bucket", changes, { name: bucket.name })[0]!;
    builder.output(bucketOutput(bucket), sum);
    return sum;
  });
  for (const [i, { name, parts }] of buckets.entries()) {
    const all = builder.emit("bucket_wait", [started[i]!], { name })[0]!;
    for (const { parameter, offset, shape } of parts) {
      const { weight, snapshot } = places.get(parameter)!;
      const flat = builder.emit("slice", [all], { axis: 0, start: offset, end: offset + sizeOf(shape) })[0]!;
      const change = builder.emit("reshape", [flat], { shape })[0]!;
      const moved = sub(input(1), input(2));
      builder.emit("update", [weight, snapshot, change], { exprs: [moved, moved], targets: [0, 1] });
    }
  }
  return builder.build();
}
