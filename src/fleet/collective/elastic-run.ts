// The epochs of a fit that goes on when workers die. What a worker does next follows from its phase alone, so that after a
// death all take up the one of the worker that had come furthest.
import { PeerError } from "../../collective/index.ts";
import type { Dataset, Pipeline, PipelineState } from "../../data/index.ts";
import { WorkerDiedError } from "../deaths.ts";
import type { FitResult } from "../fit-options.ts";
import type { Session } from "../session.ts";
import type { Trainer } from "../trainer.ts";
import { type Elastic, type ElasticData, Phase } from "./elastic.ts";
import { ElasticError } from "./regroup.ts";

/** What the training loop does in each phase. */
export interface ElasticSteps {
  readonly trainer: Trainer;
  readonly epochs: number;
  readonly data: ElasticData;
  session(): Session;
  /** A session for the workers that train together now. */
  renew(): Promise<Session>;
  open(dataset: Dataset, resume: PipelineState | undefined): Promise<Pipeline>;
  /** Trains until the rows of a pipeline are used up, or to the end; called again after a death. */
  train(pipeline: Pipeline): Promise<FitResult["stopped"]>;
  close(pipeline: Pipeline): Promise<void>;
  /** Evaluates and saves what is due; true when training is to stop. */
  evaluate(): Promise<boolean>;
  say(text: string): void;
}

/** Whether an error comes from workers that have died or given up. @param session that is still open */
function isLoss(error: unknown, session: Session | undefined): boolean {
  if (error instanceof ElasticError) return false;
  if (error instanceof PeerError || error instanceof WorkerDiedError) return !isMismatch(error);
  const failure = session?.collective?.failure;
  return failure instanceof PeerError && !isMismatch(failure);
}

const isMismatch = (error: unknown): boolean => (error as Error).name === "MismatchError";

export async function runElastic(elastic: Elastic, steps: ElasticSteps): Promise<FitResult["stopped"]> {
  const { trainer, epochs } = steps;
  let open: { readonly pipeline: Pipeline; readonly epoch: number; readonly phase: number } | undefined;
  let stopped: FitResult["stopped"] = "finished";

  const close = async (): Promise<void> => {
    const { pipeline } = open ?? {};
    open = undefined;
    if (pipeline !== undefined) await steps.close(pipeline);
  };

  async function pipelineOf(): Promise<Pipeline | undefined> {
    const { epoch } = trainer.state;
    if (open?.epoch === epoch && open.phase === elastic.phase) return open.pipeline;
    await close();
    const part = elastic.part(steps.data);
    if (part === undefined) return undefined;
    const pipeline = await steps.open(part.dataset, part.resume);
    open = { pipeline, epoch, phase: elastic.phase };
    const before = trainer.state.samples;
    elastic.fraction = () =>
      Math.min(1, (trainer.state.samples - before) / Math.max(1, pipeline.progress().estimatedRows));
    return pipeline;
  }

  async function train(): Promise<void> {
    const pipeline = await pipelineOf();
    if (pipeline === undefined) {
      trainer.state = { ...trainer.state, epoch: trainer.state.epoch + 1 };
      elastic.phase = Phase.evaluate;
      return;
    }
    stopped = await steps.train(pipeline);
    elastic.over = stopped !== "finished";
    if (elastic.over) elastic.phase = Phase.begin;
    else elastic.endPart();
  }

  async function evaluate(): Promise<void> {
    elastic.over = await steps.evaluate();
    if (elastic.over) stopped = "early-stop";
    elastic.phase = Phase.begin;
  }

  /** True at the end of training. */
  async function begin(): Promise<boolean> {
    if (await elastic.takeIn()) {
      await elastic.agree(await steps.renew());
      return false;
    }
    if (elastic.over || trainer.state.epoch >= epochs) return true;
    elastic.beginEpoch();
    return false;
  }

  /** An error of which the coordinator knows that somebody has died before it. */
  async function afterDeath(error: unknown): Promise<unknown> {
    const line = error instanceof ElasticError ? undefined : await trainer.job.workers.death(0);
    return line === undefined ? error : new WorkerDiedError(line, { cause: error });
  }

  async function recover(error: unknown): Promise<void> {
    let session: Session | undefined = steps.session();
    for (let cause = isLoss(error, session) ? error : await afterDeath(error); ; ) {
      if (!isLoss(cause, session)) throw cause;
      try {
        await session?.collective?.close();
        session = undefined;
        const before = trainer.job.worldSize;
        await elastic.reform();
        steps.say(`${trainer.job.worldSize} of ${before} workers go on: ${(cause as Error).message}`);
        session = await steps.renew();
        await elastic.agree(session);
        return;
      } catch (next) {
        cause = isLoss(next, session) ? next : await afterDeath(next);
      }
    }
  }

  try {
    await elastic.agree(steps.session()).catch(recover);
    for (;;) {
      try {
        if (elastic.phase === Phase.evaluate) await evaluate();
        else if (elastic.phase >= Phase.train) await train();
        else if (await begin()) return stopped;
      } catch (error) {
        await recover(error);
      }
    }
  } finally {
    await close();
  }
}
