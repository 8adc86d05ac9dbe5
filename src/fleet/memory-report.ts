// What training a model takes of the heap, by kind, known before any of it is taken; and what to do where it does not fit.
import { byteLength, type Operand, type Plan } from "../engine/index.ts";
import type { Parameter } from "../program/index.ts";
import { formatBytes } from "../report/index.ts";

/** Bytes by what they are for. Sparse tables are not in it: they grow as features are seen. */
export interface MemoryReport {
  /** Weights and running statistics. */
  readonly parameters: number;
  /** With moving averages, and the gradients that gradient merge gathers. */
  readonly optimizerState: number;
  /** Activations, gradients and inputs of all threads. */
  readonly activations: number;
  /** Of the activations: what ops use beside their operands, the most at once. */
  readonly scratch: number;
  readonly total: number;
}

export interface MemoryUse {
  /** Of all programs, optimizer state included. */
  readonly parameters: Readonly<Record<string, Parameter>>;
  readonly shared: Pick<Plan, "parameters" | "sharedBytes">;
  /** What each thread binds to its arena at the same time, one entry a thread. */
  readonly arenas: readonly Pick<Plan, "arenaBytes" | "instructions">[];
}

/** Groups of what training needs beside the weights: state, moving averages, gathered gradients. */
const moved: ReadonlySet<string> = new Set(["optimizer", "average", "merged", "snapshot"]);

export function memoryReport({ parameters, shared, arenas }: MemoryUse): MemoryReport {
  let optimizerState = 0;
  for (const [name, operand] of Object.entries(shared.parameters)) {
    if (moved.has(parameters[name]?.group ?? "")) optimizerState += bytes(operand);
  }
  const activations = arenas.reduce((sum, { arenaBytes }) => sum + arenaBytes, 0);
  const scratch = arenas.reduce(
    (sum, { instructions }) => sum + instructions.reduce((most, it) => Math.max(most, bytes(it.scratch)), 0),
    0,
  );
  const total = shared.sharedBytes + activations;
  return { parameters: shared.sharedBytes - optimizerState, optimizerState, activations, scratch, total };
}

const bytes = (operand: Operand | undefined): number => (operand === undefined ? 0 : byteLength(operand));

/** "3.1 GB: parameters 440 MB, optimizer state 880 MB, activations 1.8 GB (scratch 12 MB)". */
export function formatMemory({ parameters, optimizerState, activations, scratch, total }: MemoryReport): string {
  const aside = scratch === 0 ? "" : ` (scratch ${formatBytes(scratch)})`;
  const state = optimizerState === 0 ? "" : `, optimizer state ${formatBytes(optimizerState)}`;
  return `${formatBytes(total)}: parameters ${formatBytes(parameters)}${state}, activations ${formatBytes(activations)}${aside}`;
}

/** Below this, nobody asks. */
const WORTH_A_NOTE = 2 ** 28;

/** "needs 3.1 GB: …; with recompute 0.9 GB", for models that need much; else undefined. */
export function memoryNote(report: MemoryReport, recomputed?: () => MemoryReport): string | undefined {
  if (report.total < WORTH_A_NOTE) return undefined;
  const again = recomputed?.().total ?? report.total;
  const less = again < report.total ? `; with recompute ${formatBytes(again)}` : "";
  return `needs ${formatMemory(report)}${less}`;
}

export interface Room {
  /** Bytes that the heap has left, and holds in all. */
  readonly free: number;
  readonly capacity: number;
}

export interface RefusalOptions {
  readonly model: string;
  readonly batch: number;
  /** The same with `recompute: { segments: "auto" }`; undefined where that is on already. */
  readonly recomputed?: (() => MemoryReport) | undefined;
  /** Whether activations are stored in half precision already. */
  readonly halfPrecision: boolean;
}

/**
 * @throws RangeError where the model does not fit: with what it needs, what there is, and the switches that would help, each
 * with its figure
 */
export function expectRoom(report: MemoryReport, room: Room, options: RefusalOptions): void {
  if (report.total <= room.free) return;
  const { model, batch, recomputed, halfPrecision } = options;
  const perRow = report.activations / batch;
  const rows = Math.floor((room.free - (report.total - report.activations)) / perRow);
  const again = recomputed?.();
  const ways = [
    ...(again !== undefined && again.total < report.total
      ? [`strategy recompute: { segments: "auto" } (needs ${formatBytes(again.total)})`]
      : []),
    ...(halfPrecision ? [] : [`amp: "bf16" (about half of the activations)`]),
    ...(rows >= 1 && rows < batch
      ? [`batches of at most ${rows} rows`, `gradientMerge to add up the gradients of several such batches`]
      : []),
    `fleet.init({ maxBytes }) with ${formatBytes(report.total - room.free)} more`,
  ];
  throw new RangeError(
    `${model} does not fit: with batches of ${batch} rows it needs ${formatMemory(report)}; ` +
      `${formatBytes(Math.max(0, room.free))} of the heap's ${formatBytes(room.capacity)} are free. What helps: ${ways.join("; ")}`,
  );
}
