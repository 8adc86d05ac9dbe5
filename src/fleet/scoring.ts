// Scores of a dataset by the trainer threads: summed up to exact metrics, or given out in the order of the rows.
import { Dataset, openPipeline, type Pipeline } from "../data/index.ts";
import { ScoreLog, WindowStats } from "../metrics/index.ts";
import type { Model } from "../models/index.ts";
import type { Job } from "./job.ts";
import { orderedScores } from "./predict.ts";
import type { ScoreMessage, ScoreRequest } from "./protocol.ts";
import type { Session } from "./session.ts";
import { dealing, type Strategy } from "./strategy.ts";
import { type Metrics, taskMetrics, taskOf } from "./tasks.ts";
import type { Weights } from "./weights.ts";

interface Scorer {
  readonly job: Job;
  readonly model: Model;
  readonly strategy: Strategy;
}

export async function metricsOf(
  { job: { heap, pool }, model, strategy }: Scorer,
  session: Session,
  dataset: Dataset,
  weights: Weights,
): Promise<Metrics> {
  const task = taskOf(model);
  await using owned = new AsyncDisposableStack();
  const dealt = strategy.deterministic ? dealing(strategy) : {};
  const options = { trainers: pool.size, ...dealt };
  const pipeline = owned.adopt(await openPipeline(heap, dataset, options), (open) => open.close());
  const log = task === "binary" ? ScoreLog.create(heap, { threads: pool.size }) : undefined;
  owned.defer(() => log?.free());
  const stats = task === "binary" ? undefined : WindowStats.create(heap, { threads: pool.size });
  owned.defer(() => stats?.free());
  const reader = stats?.reader();
  owned.defer(() => reader?.free());
  await scoreBatches(pool, session, pipeline, weights, {
    ...(log === undefined ? {} : { log: log.handle }),
    ...(stats === undefined ? {} : { stats: stats.handle }),
    send: false,
  });
  await pipeline.finished;
  return log?.metrics() ?? taskMetrics(model, session.measures, reader!.read());
}

/** In pieces as they come, in the order of the files. */
export async function* predictionsOf(
  { job: { heap, pool }, model }: Scorer,
  session: Session,
  dataset: Dataset,
  weights: Weights,
): AsyncGenerator<Float32Array> {
  const { shuffle: _, ...spec } = dataset.spec;
  const ordered = Dataset.from({ ...spec, order: "file", readers: 1 });
  const pipeline = await openPipeline(heap, ordered, { trainers: pool.size });
  try {
    const start = (onScores: (message: ScoreMessage) => void): Promise<void> =>
      scoreBatches(pool, session, pipeline, weights, { send: true }, onScores);
    const logits = taskOf(model) === "binary";
    yield* orderedScores(start, () => pipeline.interrupt(), { logits });
    await pipeline.finished;
  } finally {
    await pipeline.close();
  }
}

/** @param to where the threads put what they score */
function scoreBatches(
  pool: Job["pool"],
  session: Session,
  pipeline: Pipeline,
  weights: Weights,
  to: Pick<ScoreRequest, "log" | "stats" | "send">,
  onScores?: (message: ScoreMessage) => void,
): Promise<void> {
  return session.overBatches("score", pipeline, async (source) => {
    await pool.all(
      (thread) => ({
        type: "score",
        key: session.keys.score[weights],
        source: source(thread),
        batch: session.layout.batch,
        columns: session.columns("score"),
        ...to,
      }),
      onScores,
      () => pipeline.interrupt(),
    );
  });
}
