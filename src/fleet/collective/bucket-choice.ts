// Which gradients of a model travel together, which of them compressed, and which as the rows that are not 0.
import { byReadiness, definitionsOf } from "../../passes/index.ts";
import {
  type Bucket,
  type Differentiated,
  type Op,
  type Program,
  planBuckets,
  type RowGradient,
  type UpdateRules,
  type ValueId,
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

/** Whole gradients travel as fast as rows of half their bytes. */
const LEAST_SAVING = 2;

/**
 * Of gradients that are 0 but for the rows of a batch's ids: which column has these, by parameter. Only those that the
 * rows of all ranks are much shorter than.
 */
export function rowGradients({ program, gradients }: Differentiated, ranks: number): Map<string, RowGradient> {
  if (ranks === 1) return new Map();
  const { ops, values } = program;
  const definitions = definitionsOf(ops);
  const definition = (id: ValueId): Op | undefined => ops[definitions.get(id) ?? -1];
  const columns = new Map(Object.entries(program.inputs).map(([name, id]) => [id, name]));
  const found = new Map<string, RowGradient>();
  for (const [parameter, gradient] of Object.entries(gradients)) {
    let op = definition(gradient);
    // The gradient of weights in half precision is rounded, which leaves zeros.
    while (op !== undefined && isCast(op)) op = definition(op.inputs[0]!);
    if (op?.kind !== "embedding_grad") continue;
    let ids = op.inputs[0]!;
    for (let view = definition(ids); view?.kind === "reshape"; view = definition(ids)) ids = view.inputs[0]!;
    const column = columns.get(ids);
    if (column === undefined) continue;
    const [rows, width] = values[gradient]!.shape as [number, number];
    const count = values[ids]!.shape.reduce((a, b) => a * b, 1);
    // Of a sum over P ranks each sends 2·(P − 1)/P of the matrix, of rows P − 1 times its own.
    const length = Math.ceil((count * (width + 1) * ranks) / 2);
    if (LEAST_SAVING * length <= rows * width) found.set(parameter, { column, count, length });
  }
  return found;
}

const isCast = (op: Op): boolean =>
  op.kind === "map" && op.inputs.length === 1 && op.attrs.exprs.length === 1 && op.attrs.exprs[0]!.op === "input";

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
