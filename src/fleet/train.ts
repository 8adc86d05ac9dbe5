// Training in a trainer thread, until its queue ends. Inside the loops nothing is allocated and nothing is computed by
// JavaScript but the step's scalars.

import { INTERRUPTED } from "../data/queue.ts";
import { formatProfile, NonFiniteError } from "../engine/index.ts";
import type { Barrier } from "../memory/index.ts";
import { WindowStats } from "../metrics/index.ts";
import { FINITE } from "../program/index.ts";
import { attachBatches } from "./batch-source.ts";
import {
  address,
  type Bound,
  columnClearer,
  columnCopier,
  heap,
  planOf,
  recorderOf,
  thread,
  threads,
} from "./bound-plans.ts";
import { Tally } from "./collective/handle.ts";
import { LateUpdate } from "./collective/late-update.ts";
import { LocalRounds } from "./collective/local-rounds.ts";
import { clock, Kind, Timeline } from "./collective/timeline.ts";
import { tracedRun, tracedUpdate } from "./collective/traced-run.ts";
import { Control, Wish } from "./control.ts";
import { GradientSink } from "./gradient-sink.ts";
import { LOSS_SCALE_NUMBERS, LossScale } from "./loss-scale.ts";
import { MergeProgress } from "./merge.ts";
import type { FlushRequest, TrainRequest } from "./protocol.ts";
import { stepInputs } from "./step-inputs.ts";

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

/** Waits for the other threads. @throws when one of them failed */
function meet(barrier: Barrier): void {
  if (!barrier.wait()) throw new Error("another trainer thread failed");
}

/** Runs what is to happen in step with the other threads; lets none of them wait for a thread that failed. */
function together<T>(barrier: Barrier, work: () => T): T {
  try {
    return work();
  } catch (error) {
    barrier.stop();
    throw error;
  }
}

/** Tells the loss scale whether the gradients that a plan has applied were finite; nothing for other plans. */
function scaleLearner({ prepared, ...bound }: Bound, scale: LossScale | undefined): () => void {
  if (scale === undefined || prepared.plan.outputs[FINITE] === undefined) return () => {};
  const finite = heap.f32(address({ prepared, ...bound }, "outputs", FINITE), 1);
  return () => scale.step(finite[0] !== 0);
}

/** Applies the gradients that steps whose rows weigh so much have left. Threads of mode `sync` begin each phase together. */
function updater(
  request: TrainRequest | FlushRequest,
  barrier: Barrier,
  scale: LossScale | undefined,
  timeline?: Timeline,
): (step: number, weight: number) => void {
  const phases = request.updateKeys.map((key) => {
    const bound = planOf(key);
    const setInputs = stepInputs(bound, request, scale);
    const { run } = bound.executable;
    return {
      run: timeline === undefined ? run : tracedUpdate(run, timeline),
      setInputs,
      learn: scaleLearner(bound, scale),
    };
  });
  const { exchange } = request;
  const tally = exchange?.settles === true && thread === 0 ? new Tally(heap, exchange) : undefined;
  return (step, weight) => {
    for (let i = 0; i < phases.length; i++) {
      tally?.settle();
      if (request.mode === "sync") meet(barrier);
      phases[i]!.setInputs(step, weight);
      runStep(phases[i]!.run, step, request.rank);
      phases[i]!.learn();
    }
  };
}

/** Of ranks whose updates run in the next step: the last step of all, of no rows, runs the last one. */
function lateUpdate(
  request: TrainRequest,
  scale: LossScale | undefined,
  timeline: Timeline | undefined,
): LateUpdate | undefined {
  const { late: before, updateKeys } = request;
  if (before === undefined) return undefined;
  const bound = planOf(updateKeys[0]!);
  return new LateUpdate({
    ...{ update: bound.executable, before, timeline },
    setInputs: stepInputs(bound, request, scale),
  });
}

const lossScaleOf = ({ lossScale }: TrainRequest | FlushRequest): LossScale | undefined =>
  lossScale && new LossScale(heap.f64(lossScale.address, LOSS_SCALE_NUMBERS), lossScale.options);

const mergeProgress = ({ merge, mode }: TrainRequest | FlushRequest): MergeProgress | undefined =>
  merge === undefined ? undefined : new MergeProgress(heap, merge, mode === "async" || thread === 0);

/** Waits for what all ranks have brought, and tells this one's threads. */
function agree(control: Control, tally: Tally): void {
  tally.end();
  control.bringAll(tally.rows, tally.weight);
  control.agree((tally.pauses > 0 ? Wish.pause : 0) | (tally.stops > 0 ? Wish.stop : 0));
}

/** Trains until the queue ends. */
export function train(request: TrainRequest): unknown {
  const bound = planOf(request.key);
  const queue = attachBatches(heap, request.source, thread);
  const control = Control.attach(heap, request.control, threads);
  const record = recorderOf(bound, WindowStats.attach(heap, request.stats).recorder(thread), request.batch);
  const copy = columnCopier(bound, request.columns);
  const sink = request.sink === undefined ? undefined : new GradientSink(heap, bound, request.sink);
  // What a communicator has prepared is read until the step is done.
  const keeps = request.source.prepared !== undefined;
  const scale = lossScaleOf(request);
  const setInputs = stepInputs(bound, request, scale);
  const learn = scaleLearner(bound, scale);
  const { executable } = bound;
  const timeline = request.exchange === undefined ? undefined : new Timeline(heap, request.exchange.timeline);
  const seen = request.trace === true && thread === 0 ? timeline : undefined;
  const late = request.profile === true ? undefined : lateUpdate(request, scale, seen);
  const before = late && ((instruction: number): void => late.before(instruction));
  const traced = seen === undefined ? undefined : tracedRun(bound.prepared.plan, executable, seen, before);
  const plain = before === undefined ? executable.run : () => executable.runMarked(before);
  const run = request.profile === true ? executable.runProfiled : (traced?.run ?? plain);
  const barrier = control.barrier();
  const update = updater(request, barrier, scale, seen);
  const merge = mergeProgress(request);
  const exchange = request.exchange;
  const tally = exchange === undefined ? undefined : new Tally(heap, exchange);
  const rounds =
    request.local === undefined ? undefined : new LocalRounds(heap, request.local, planOf(request.local.key), bound);
  const stepCell = exchange?.dgc === undefined ? undefined : heap.f64(exchange.dgc.step, 1);
  let steps = 0;
  const forward = (step: number, weight: number): void => {
    if (stepCell !== undefined) stepCell[0] = step;
    setInputs(
      merge === undefined ? step : merge.seedStep(step),
      merge?.batch ?? (rounds === undefined ? exchange?.batch : undefined) ?? weight,
    );
    runStep(run, step, request.rank);
    learn();
    record();
    steps++;
  };

  if (request.mode === "async") {
    for (let slot = queue.next(); slot > 0; slot = queue.next()) {
      const { weight } = queue;
      copy(slot);
      if (keeps) {
        forward(control.nextStep(), weight);
        sink?.push(slot, weight);
        queue.release();
        continue;
      }
      queue.release();
      if (merge === undefined) {
        forward(control.nextStep(), weight);
        continue;
      }
      forward(control.step, weight);
      if (!merge.add(weight)) continue;
      update(control.nextStep(), merge.weight);
      merge.clear();
    }
  } else {
    const clear = columnClearer(bound, request);
    together(barrier, () => {
      let [passes, begun] = [0, 0];
      for (let step = control.step; ; ) {
        if (seen !== undefined) {
          const now = clock();
          if (passes > 0) seen.add(Kind.step, passes, begun, now);
          passes++;
          begun = now;
        }
        const slot = queue.next();
        // Other ranks would wait for this one's part in the step.
        if (slot === INTERRUPTED && exchange !== undefined) throw new Error("another trainer thread failed");
        const own = slot > 0 ? queue.weight : 0;
        control.bring(thread, slot > 0 ? queue.rows : 0, own);
        if (slot > 0) {
          copy(slot);
          if (!keeps) queue.release();
        } else clear();
        // Everyone has a batch or none, and everyone has applied the step before.
        meet(barrier);
        if (exchange === undefined && control.totalRows() === 0) break;
        let weight = control.totalWeight();
        if (rounds !== undefined) {
          const rows = control.totalRows();
          if (rows > 0) {
            forward(step, weight);
            update(step, weight);
          } else meet(barrier);
          step++;
          if (rounds.add(step, rows, weight)) {
            if (thread === 0) {
              tally!.bringLoss(rows > 0 ? rounds.lossSum(weight) : 0, own);
              tally!.begin(rounds.rows, rounds.weight, control.asked);
              agree(control, tally!);
              if (tally!.rows > 0) rounds.average(tally!);
            }
            meet(barrier);
            if (control.allRows === 0) {
              // What nobody had rows for was no step.
              if (thread === 0) control.step = step - rounds.steps;
              break;
            }
            rounds.next(step, tally!);
          }
          if (thread === 0) control.step = step;
          continue;
        }
        if (thread === 0) tally?.begin(control.totalRows(), weight, control.asked);
        forward(step, weight);
        if (tally !== undefined) {
          if (thread === 0) agree(control, tally);
          meet(barrier);
          if (control.allRows === 0) break;
          weight = control.allWeight;
        }
        if (keeps) {
          if (slot > 0) {
            sink!.push(slot, own);
            queue.release();
          }
          step++;
          // Everyone has read what the others bring.
          meet(barrier);
          if (thread === 0) control.step = step;
          continue;
        }
        if (merge?.add(weight) === false) {
          // Everyone has read what the others bring.
          meet(barrier);
          continue;
        }
        // Once every thread's gradients are there, each applies its own share of the parameters.
        if (late === undefined) update(step, merge?.weight ?? weight);
        else late.defer(step, weight);
        merge?.clear();
        step++;
        if (thread === 0) control.step = step;
      }
    });
  }
  sink?.dispose();
  return {
    steps,
    groups: traced?.groups,
    ...(request.profile === true ? { profile: formatProfile(executable.profile()) } : {}),
  };
}

/** Applies what was gathered for a group that is not full. */
export function flush(request: FlushRequest): void {
  const control = Control.attach(heap, request.control, threads);
  const barrier = control.barrier();
  const update = updater(request, barrier, lossScaleOf(request));
  const merge = mergeProgress(request);
  if (merge === undefined || merge.steps === 0) return;
  if (request.mode === "async") update(control.nextStep(), merge.weight);
  else {
    together(barrier, () => {
      const { step } = control;
      update(step, merge.weight);
      if (thread === 0) control.step = step + 1;
    });
  }
  merge.clear();
}
