// One collective call as plain data: what is asked, checked, the schedule that carries it out, and the words by which ranks
// compare what they were asked.
import { z } from "zod";
import { allToAll } from "./algorithms/all-to-all.ts";
import { barrier } from "./algorithms/barrier.ts";
import { broadcastChain, broadcastTree } from "./algorithms/broadcast.ts";
import { direct } from "./algorithms/direct.ts";
import { allGather, reduceScatter } from "./algorithms/gather-scatter.ts";
import { hierarchical, torus } from "./algorithms/grid.ts";
import { halvingDoubling } from "./algorithms/halving-doubling.ts";
import { ring } from "./algorithms/ring.ts";
import type { Schedule } from "./schedule.ts";

export const collectives = [
  "all-reduce",
  "reduce-scatter",
  "all-gather",
  "broadcast",
  "all-to-all",
  "barrier",
] as const;
export type Collective = (typeof collectives)[number];

/** Ways of an all-reduce. `shared`: ranks read each other's memory. */
export const allReduceAlgorithms = ["ring", "halving-doubling", "hierarchical", "torus", "direct", "shared"] as const;
export type AllReduceAlgorithm = (typeof allReduceAlgorithms)[number];
export type Algorithm = AllReduceAlgorithm | "chain" | "tree" | "pairwise" | "dissemination";

/** Which algorithms each collective has; the first is taken where nothing else is said or known. */
export const algorithmsOf: Readonly<Record<Collective, readonly Algorithm[]>> = {
  "all-reduce": allReduceAlgorithms,
  "reduce-scatter": ["ring", "direct"],
  "all-gather": ["ring", "direct"],
  broadcast: ["chain", "tree"],
  "all-to-all": ["pairwise"],
  barrier: ["dissemination"],
};

/** Bytes of an element. Only f32 is reduced; the others are moved. */
export const elementBytes = { f32: 4, bf16: 2, f16: 2, i32: 4, u32: 4, u64: 8, u8: 1 } as const;
export type ElementName = keyof typeof elementBytes;

const wholeNumber = z.number().int().nonnegative();

const callSchema = z.strictObject({
  collective: z.enum(collectives),
  /** What the call moves, for messages: the name of a tensor or bucket. */
  name: z.string().max(200).default(""),
  address: wholeNumber.default(0),
  /** Elements of the buffer at `address`, of all ranks together where ranks have parts of it. */
  count: wholeNumber.default(0),
  /** Where all-to-all writes. */
  output: wholeNumber.optional(),
  op: z.enum(["sum", "mean", "max"]).default("sum"),
  dtype: z.enum(Object.keys(elementBytes) as [ElementName, ...ElementName[]]).default("f32"),
  /** How f32 numbers travel; additions are in f32 always. */
  wire: z.enum(["f32", "bf16", "f16"]).default("f32"),
  algorithm: z.string().default("auto"),
  /** Ranks of a group (hierarchical) or of a row (torus). */
  groupSize: wholeNumber.min(1).optional(),
  root: wholeNumber.default(0),
});

/** What a caller passes. */
export type CallOptions = z.input<typeof callSchema>;
/** With its defaults; the algorithm may still be `auto`. */
export type Call = z.output<typeof callSchema>;

/** @throws RangeError that names the field, its value and what is allowed */
export function checkCall(options: CallOptions, size: number): Call {
  const parsed = callSchema.safeParse(options);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    const value = JSON.stringify((options as Record<string, unknown>)[String(path[0])]);
    throw new RangeError(`${options.collective}: ${path.join(".") || "options"}: ${message}, got ${value}`);
  }
  const call = parsed.data;
  const fail = (text: string): never => {
    throw new RangeError(`${call.collective}${call.name === "" ? "" : ` "${call.name}"`}: ${text}`);
  };
  const reduces = call.collective === "all-reduce" || call.collective === "reduce-scatter";
  if (reduces && call.dtype !== "f32")
    fail(`only f32 is reduced, got ${call.dtype}; convert first, or pass wire: "bf16"`);
  if (call.wire !== "f32" && call.dtype !== "f32") fail(`wire ${call.wire} is for f32 elements, got ${call.dtype}`);
  if (call.root >= size) fail(`root must be a rank below ${size}, got ${call.root}`);
  if (call.address % elementBytes[call.dtype] !== 0)
    fail(`the address must be a multiple of an element, got ${call.address}`);
  if (call.collective === "all-to-all" && call.output === undefined) fail("output must say where the blocks go");
  const known = algorithmsOf[call.collective] as readonly string[];
  if (call.algorithm !== "auto" && !known.includes(call.algorithm)) {
    fail(`algorithm ${JSON.stringify(call.algorithm)} is unknown; allowed: auto, ${known.join(", ")}`);
  }
  return call;
}

/** A call with its algorithm decided. */
export interface DecidedCall extends Call {
  readonly algorithm: Algorithm;
}

/** The schedule of a call. @throws RangeError when the algorithm cannot do it with so many ranks. */
export function scheduleOf(call: DecidedCall, place: { rank: number; size: number }, segment: number): Schedule {
  const request = { ...place, count: call.count, segment };
  const columns = call.groupSize ?? 1;
  switch (call.collective) {
    case "all-reduce":
      return allReduceSchedule(call.algorithm as AllReduceAlgorithm, { ...request, columns });
    case "reduce-scatter":
      return reduceScatter(request, call.algorithm as "ring" | "direct");
    case "all-gather":
      return allGather(request, call.algorithm as "ring" | "direct");
    case "broadcast": {
      const { root } = call;
      return call.algorithm === "tree" ? broadcastTree({ ...request, root }) : broadcastChain({ ...request, root });
    }
    case "all-to-all":
      return allToAll(request);
    case "barrier":
      return barrier(place);
    default:
      return call.collective satisfies never;
  }
}

/** Bytes that a rank sends, notes aside. */
export function sentBytes(call: DecidedCall, { rank, size }: { rank: number; size: number }): number {
  const { steps } = scheduleOf(call, { rank, size }, Number.MAX_SAFE_INTEGER);
  const elements = steps.reduce((sum, { sends }) => sends.reduce((more, { count }) => more + count, sum), 0);
  return elements * (call.wire === "f32" ? elementBytes[call.dtype] : 2);
}

function allReduceSchedule(algorithm: AllReduceAlgorithm, request: Parameters<typeof torus>[0]): Schedule {
  switch (algorithm) {
    case "ring":
      return ring(request);
    case "halving-doubling":
      return halvingDoubling(request);
    case "hierarchical":
      return hierarchical(request);
    case "torus":
      return torus(request);
    case "direct":
    case "shared":
      // What cannot be read where it is goes through the window.
      return direct(request);
    default:
      return algorithm satisfies never;
  }
}

/** What all ranks must agree on, in words. */
export function describeCall({
  collective,
  name,
  count,
  op,
  dtype,
  wire,
  algorithm,
  groupSize,
  root,
}: DecidedCall): string {
  if (collective === "barrier") return `barrier${name === "" ? "" : ` "${name}"`}`;
  const reduces = collective === "all-reduce" || collective === "reduce-scatter";
  const details = [
    `${count} ${dtype}`,
    ...(reduces ? [op] : []),
    ...(wire === "f32" ? [] : [`as ${wire}`]),
    ...(collective === "broadcast" ? [`from rank ${root}`] : []),
    `by ${algorithm}${groupSize === undefined ? "" : ` of ${groupSize}`}`,
  ];
  return `${collective}${name === "" ? "" : ` "${name}"`} (${details.join(", ")})`;
}
