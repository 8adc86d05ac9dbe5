// A trainer thread: binds plans to its own arena, then trains or scores batches from its own queue until that ends.
import { parentPort } from "node:worker_threads";
import { ScoreLog, WindowStats } from "../metrics/index.ts";
import { attachBatches } from "./batch-source.ts";
import { address, bindPlan, columnCopier, heap, planOf, recorderOf, release, thread } from "./bound-plans.ts";
import type { Reply, Request, ScoreMessage, ScoreRequest } from "./protocol.ts";
import { flush, train } from "./train.ts";

/** Predictions travel in messages of about this many batches, or numbers where those are fewer batches. */
const BATCHES_A_MESSAGE = 32;
const MESSAGE_NUMBERS = 2 ** 20;

function score(request: ScoreRequest, id: number): unknown {
  const bound = planOf(request.key);
  const queue = attachBatches(heap, request.source, thread);
  const keeps = request.source.prepared !== undefined;
  const log = request.log === undefined ? undefined : ScoreLog.attach(heap, request.log).recorder(thread);
  const stats = request.stats === undefined ? undefined : WindowStats.attach(heap, request.stats).recorder(thread);
  const record = stats === undefined ? undefined : recorderOf(bound, stats, request.batch);
  const copy = columnCopier(bound, request.columns);
  const { inputs, outputs } = bound.prepared.plan;
  const predicted = address(bound, "outputs", "outputs");
  const width = outputs.outputs!.shape.slice(1).reduce((a, b) => a * b, 1);
  const batchesAMessage = Math.max(
    1,
    Math.min(BATCHES_A_MESSAGE, Math.floor(MESSAGE_NUMBERS / (request.batch * width))),
  );
  const labels = inputs.label === undefined ? 0 : address(bound, "inputs", "label");
  const weights = inputs.weight === undefined ? 0 : address(bound, "inputs", "weight");
  const room = (): Float32Array<ArrayBuffer> => new Float32Array(batchesAMessage * request.batch * width);
  let scores = room();
  let sequences: number[] = [];
  let starts = [0];
  const flush = (): void => {
    if (sequences.length === 0) return;
    parentPort!.postMessage({ id, scores, sequences, starts } satisfies ScoreMessage, [scores.buffer]);
    scores = room();
    sequences = [];
    starts = [0];
  };
  let batches = 0;
  for (let slot = queue.next(); slot > 0; slot = queue.next()) {
    const { rows, sequence } = queue;
    copy(slot);
    if (!keeps) queue.release();
    bound.executable.run();
    if (keeps) queue.release();
    log?.record(predicted, labels, weights, request.batch);
    record?.();
    if (request.send) {
      const start = starts[starts.length - 1]!;
      scores.set(heap.f32(predicted, rows * width), start);
      sequences.push(sequence);
      starts.push(start + rows * width);
      if (sequences.length === batchesAMessage) flush();
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
