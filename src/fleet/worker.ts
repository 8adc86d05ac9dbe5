// A trainer thread: binds plans to its own arena, then trains or scores batches from its own queue until that ends. Inside
// the loops nothing is allocated and nothing is computed by JavaScript but the step's scalars.
import { parentPort, workerData } from "node:worker_threads";
import { BatchQueue } from "../data/index.ts";
import { bind, type Executable, formatProfile, NonFiniteError, type Prepared } from "../engine/index.ts";
import { attachProvider } from "../engine/providers/index.ts";
import { Heap } from "../memory/index.ts";
import { ScoreLog, WindowStats } from "../metrics/index.ts";
import { scalarAt } from "../optim/index.ts";
import { Table } from "../table/index.ts";
import { Control } from "./control.ts";
import type { BindRequest, Reply, Request, ScoreMessage, ScoreRequest, TrainRequest, WorkerData } from "./protocol.ts";

interface Bound {
  readonly prepared: Prepared;
  readonly arena: number;
  readonly executable: Executable;
}

const { memory, thread, threads } = workerData as WorkerData;
const heap = Heap.attach(memory);
const plans = new Map<string, Bound>();
const LOSS_SCALE = "scalar:lossScale";

function bindPlan({
  key,
  prepared,
  provider: description,
  arena,
  shared,
  tables: handles,
  checkFinite = false,
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
    }),
  });
}

function release(keys: readonly string[]): void {
  for (const key of keys) {
    plans.get(key)?.executable.dispose();
    plans.delete(key);
  }
}

function planOf(key: string): Bound {
  const bound = plans.get(key);
  if (bound === undefined) throw new Error(`trainer thread ${thread} has no plan "${key}"`);
  return bound;
}

/** Address of a named input or output of a bound plan. */
function address({ prepared: { plan }, arena }: Bound, kind: "inputs" | "outputs", name: string): number {
  const operand = plan[kind][name];
  if (operand === undefined) throw new Error(`the plan has no ${kind.slice(0, -1)} "${name}"`);
  return arena + operand.offset;
}

/** Copies the columns of a slot to where the plan reads them. */
function columnCopier(bound: Bound, columns: TrainRequest["columns"]): (slot: number) => void {
  const bytes = heap.u8(0, heap.capacity);
  const copies = columns.map(({ input, offset, bytes: length }) => ({
    to: address(bound, "inputs", input),
    offset,
    length,
  }));
  return (slot) => {
    for (const { to, offset, length } of copies) bytes.copyWithin(to, slot + offset, slot + offset + length);
  };
}

/** Fills the inputs with padding: weight 0, no features. */
function columnClearer(bound: Bound, columns: TrainRequest["columns"]): () => void {
  const views = columns.map(({ input, bytes }) => heap.u8(address(bound, "inputs", input), bytes));
  return () => {
    for (const view of views) view.fill(0);
  };
}

/** Writes the numbers that change each step: rates, bias corrections, the loss scale, the seed of random ops. */
function stepInputs(bound: Bound, request: TrainRequest): (step: number, rows: number) => void {
  const has = (name: string): boolean => bound.prepared.plan.inputs[name] !== undefined;
  const cell = (name: string): Float32Array => heap.f32(address(bound, "inputs", name), 1);
  const scalars = request.scalars
    .filter(({ input }) => has(input))
    .map(({ input, scalar, optimizer }) => ({ cell: cell(input), scalar, optimizer }));
  const lossScale = has(LOSS_SCALE) ? cell(LOSS_SCALE) : undefined;
  const seed = has("seed") ? heap.u32(address(bound, "inputs", "seed"), 1) : undefined;
  return (step, rows) => {
    for (const { cell, scalar, optimizer } of scalars) cell[0] = scalarAt(optimizer, scalar, step);
    if (lossScale !== undefined) lossScale[0] = rows > 0 ? 1 / rows : 0;
    // Threads of mode `sync` share a step, so the thread is part of the seed.
    if (seed !== undefined)
      seed[0] = Math.imul(request.seed + Math.imul(step, 0x9e3779b1), 0x85ebca6b) ^ Math.imul(thread, 0xc2b2ae35);
  };
}

/** Runs step `step`, counted from 0, and says which one (counted from 1) it was where a number of it is not finite. */
function runStep(run: () => void, step: number, rank: number): void {
  try {
    run();
  } catch (error) {
    if (error instanceof NonFiniteError)
      throw new Error(`step ${step + 1}, rank ${rank}: ${error.message}`, { cause: error });
    throw error;
  }
}

function train(request: TrainRequest): unknown {
  const bound = planOf(request.key);
  const update = request.updateKey === undefined ? undefined : planOf(request.updateKey);
  const queue = BatchQueue.attach(heap, request.queue, thread);
  const control = Control.attach(heap, request.control, threads);
  const stats = WindowStats.attach(heap, request.stats).recorder(thread);
  const copy = columnCopier(bound, request.columns);
  const setInputs = stepInputs(bound, request);
  const output = (name: string): number => address(bound, "outputs", name);
  const logits = output("logits");
  const labels = address(bound, "inputs", "label");
  const weights = address(bound, "inputs", "weight");
  const { executable } = bound;
  const run = request.profile === true ? executable.runProfiled : executable.run;
  let steps = 0;

  if (update === undefined) {
    for (let slot = queue.next(); slot > 0; slot = queue.next()) {
      const rows = queue.rows;
      copy(slot);
      queue.release();
      const step = control.nextStep();
      setInputs(step, rows);
      runStep(run, step, request.rank);
      stats.record(logits, labels, weights, 0, request.batch);
      steps++;
    }
  } else {
    const clear = columnClearer(bound, request.columns);
    const setUpdateInputs = stepInputs(update, request);
    const barrier = control.barrier();
    try {
      for (let step = control.step; ; step++) {
        const slot = queue.next();
        const rows = slot > 0 ? queue.rows : 0;
        control.setRows(thread, rows);
        if (slot > 0) {
          copy(slot);
          queue.release();
        } else clear();
        // Everyone has a batch or none, and everyone has applied the step before.
        if (!barrier.wait()) throw new Error("another trainer thread failed");
        const total = control.totalRows();
        if (total === 0) break;
        setInputs(step, total);
        setUpdateInputs(step, total);
        runStep(run, step, request.rank);
        // Every thread's gradients are there: each applies its own share of the parameters.
        if (!barrier.wait()) throw new Error("another trainer thread failed");
        runStep(update.executable.run, step, request.rank);
        if (thread === 0) control.step = step + 1;
        stats.record(logits, labels, weights, 0, request.batch);
        steps++;
      }
    } catch (error) {
      barrier.stop();
      throw error;
    }
  }
  return { steps, ...(request.profile === true ? { profile: formatProfile(executable.profile()) } : {}) };
}

/** Predictions travel in messages of about this many batches. */
const BATCHES_A_MESSAGE = 32;

function score(request: ScoreRequest, id: number): unknown {
  const bound = planOf(request.key);
  const queue = BatchQueue.attach(heap, request.queue, thread);
  const log = request.log === undefined ? undefined : ScoreLog.attach(heap, request.log).recorder(thread);
  const copy = columnCopier(bound, request.columns);
  const logits = address(bound, "outputs", "logits");
  const has = (name: string): boolean => bound.prepared.plan.inputs[name] !== undefined;
  const labels = has("label") ? address(bound, "inputs", "label") : 0;
  const weights = has("weight") ? address(bound, "inputs", "weight") : 0;
  let scores = new Float32Array(BATCHES_A_MESSAGE * request.batch);
  let sequences: number[] = [];
  let starts = [0];
  const flush = (): void => {
    if (sequences.length === 0) return;
    parentPort!.postMessage({ id, scores, sequences, starts } satisfies ScoreMessage, [scores.buffer]);
    scores = new Float32Array(BATCHES_A_MESSAGE * request.batch);
    sequences = [];
    starts = [0];
  };
  let batches = 0;
  for (let slot = queue.next(); slot > 0; slot = queue.next()) {
    const { rows, sequence } = queue;
    copy(slot);
    queue.release();
    bound.executable.run();
    log?.record(logits, labels, weights, request.batch);
    if (request.send) {
      const start = starts[starts.length - 1]!;
      scores.set(heap.f32(logits, rows), start);
      sequences.push(sequence);
      starts.push(start + rows);
      if (sequences.length === BATCHES_A_MESSAGE) flush();
    }
    batches++;
  }
  flush();
  return { batches };
}

function handle(request: Request, id: number): unknown {
  switch (request.type) {
    case "bind":
      return bindPlan(request);
    case "release":
      return release(request.keys);
    case "train":
      return train(request);
    case "score":
      return score(request, id);
    default:
      return request satisfies never;
  }
}

parentPort!.on("message", ({ id, request }: { id: number; request: Request }) => {
  let reply: Reply;
  try {
    reply = { id, result: handle(request, id) };
  } catch (error) {
    const { message, stack } = error as Error;
    reply = {
      id,
      error: { message: `trainer thread ${thread}: ${message}`, ...(stack === undefined ? {} : { stack }) },
    };
  }
  parentPort!.postMessage(reply);
});
