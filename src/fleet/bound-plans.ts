// What a trainer thread has while it lives: its number, the heap, and the plans that it has bound.
import { workerData } from "node:worker_threads";
import { bind, type Executable, type Prepared } from "../engine/index.ts";
import { attachProvider } from "../engine/providers/index.ts";
import { Heap, instantiate } from "../memory/index.ts";
import type { StatsRecorder } from "../metrics/index.ts";
import { Table } from "../table/index.ts";
import { attachCommunication } from "./collective/handle.ts";
import type { BindRequest, TrainRequest, WorkerData } from "./protocol.ts";

export interface Bound {
  readonly prepared: Prepared;
  readonly arena: number;
  readonly executable: Executable;
}

const born = workerData as WorkerData;
/** Which of the job's threads this is, from 0, and how many there are. */
export const { thread, threads } = born;
export const heap = Heap.attach(born.memory);
const plans = new Map<string, Bound>();

export function bindPlan({
  key,
  prepared,
  provider: description,
  arena,
  shared,
  tables: handles,
  checkFinite = false,
  exchange,
  communication,
}: BindRequest): void {
  const provider = attachProvider(heap, description);
  const attached = Object.fromEntries(
    Object.entries(handles).map(([name, handle]) => [name, Table.attach(heap, handle)]),
  );
  plans.set(key, {
    prepared,
    arena,
    executable: bind(prepared, {
      heap,
      provider,
      arena,
      shared,
      tables: attached,
      ...(checkFinite ? { checkFinite } : {}),
      ...(exchange === undefined ? {} : { exchange }),
      ...(communication === undefined ? {} : { communication: attachCommunication(heap, communication, thread === 0) }),
    }),
  });
}

export function release(keys: readonly string[]): void {
  for (const key of keys) {
    plans.get(key)?.executable.dispose();
    plans.delete(key);
  }
}

export function planOf(key: string): Bound {
  const bound = plans.get(key);
  if (bound === undefined) throw new Error(`trainer thread ${thread} has no plan "${key}"`);
  return bound;
}

/** Address of a named input or output of a bound plan. */
export function address({ prepared: { plan }, arena }: Bound, kind: "inputs" | "outputs", name: string): number {
  const operand = plan[kind][name];
  if (operand === undefined) throw new Error(`the plan has no ${kind.slice(0, -1)} "${name}"`);
  return arena + operand.offset;
}

/** Copies the columns of a slot to where the plan reads them: WebAssembly does it faster than typed arrays of shared memory. */
export function columnCopier(bound: Bound, columns: TrainRequest["columns"]): (slot: number) => void {
  const { copyRows } = instantiate<{ copyRows(...args: number[]): void }>("copy", heap);
  const copies = columns.map(({ input, offset, bytes }) => ({
    to: address(bound, "inputs", input),
    offset,
    // What the kernel moves; columns lie so far apart, here and there.
    length: 4 * Math.ceil(bytes / 4),
  }));
  return (slot) => {
    for (const { to, offset, length } of copies) copyRows(to, length, slot + offset, length, 1, length);
  };
}

/** Fills the inputs with padding: weight 0, no features. */
export function columnClearer(bound: Bound, { columns, source }: Pick<TrainRequest, "columns" | "source">): () => void {
  const inputs = source.prepared?.inputs ?? [];
  const views = columns.map(({ input, bytes }) => {
    const zeroRow = inputs.find((known) => known.input === input)?.zeroRow ?? 0;
    return { view: heap.u32(address(bound, "inputs", input), bytes / 4), zeroRow };
  });
  return () => {
    for (const { view, zeroRow } of views) view.fill(zeroRow);
  };
}

/** Adds what a plan's outputs say of a batch to statistics, as the model's task wants. */
export function recorderOf(bound: Bound, stats: StatsRecorder, batch: number): () => void {
  const { inputs, outputs } = bound.prepared.plan;
  const given = inputs.weight === undefined ? 0 : address(bound, "inputs", "weight");
  if (outputs.logits !== undefined) {
    const logits = address(bound, "outputs", "logits");
    const labels = address(bound, "inputs", "label");
    return () => stats.record(logits, labels, given, 0, batch);
  }
  const losses = address(bound, "outputs", "losses");
  const weights = outputs.weights === undefined ? given : address(bound, "outputs", "weights");
  const measures = outputs.measures === undefined ? 0 : address(bound, "outputs", "measures");
  const count = outputs.measures?.shape[1] ?? 0;
  return () => stats.recordLoss(losses, measures, count, weights, batch);
}
