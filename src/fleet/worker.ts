// A trainer thread: binds plans to its own arena, then trains or scores batches from its own queue until that ends.
import { parentPort } from "node:worker_threads";
import { BatchQueue } from "../data/index.ts";
import { ScoreLog } from "../metrics/index.ts";
import { address, bindPlan, columnCopier, heap, planOf, release, thread } from "./bound-plans.ts";
import type { Reply, Request, ScoreMessage, ScoreRequest } from "./protocol.ts";
import { flush, train } from "./train.ts";

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
    case "flush":
      return flush(request);
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
