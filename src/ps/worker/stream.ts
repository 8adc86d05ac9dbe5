// Mode `async`: batches are prepared ahead, gradients are merged and sent in the background, and nobody waits for anybody.
import type { Tools } from "./communicator.ts";
import type { Taken } from "./run.ts";

/** Between two looks at a queue that is empty. */
const SEND_WAIT_MS = 10;
/** Prepares batches for all threads until their queues end, as many ahead as their rings have slots. */
export async function feed(tools: Tools, { readOnly }: { readonly readOnly: boolean }): Promise<void> {
  const { run } = tools;
  await Promise.all(run.prepared.map((_, thread) => feedThread(tools, thread, readOnly)));
}

async function feedThread({ run, preparer, exchange }: Tools, thread: number, readOnly: boolean): Promise<void> {
  const ring = run.prepared[thread]!;
  let published: Promise<void> = Promise.resolve();
  const publish = async (before: Promise<void>, { address }: Taken): Promise<void> => {
    await exchange.pull(preparer, [address], { readOnly });
    if (readOnly) preparer.blank(address);
    await before;
    ring.fill();
  };
  for (let taken = await run.take(thread); taken !== undefined; taken = await run.take(thread)) {
    preparer.number(taken.address);
    published = publish(published, taken);
    // A failure ends the whole run at the next batch, not the process.
    published.catch((error: Error) => run.stop(error));
  }
  await published;
  ring.end();
}

export async function runStream(tools: Tools): Promise<void> {
  tools.run.watch();
  await Promise.all([feed(tools, { readOnly: false }), send(tools)].map((work) => stopOnFailure(tools, work)));
}

/** One part of a run that fails must not let the others wait. */
export async function stopOnFailure({ run }: Pick<Tools, "run">, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    run.stop(error as Error);
    throw error;
  }
}

/**
 * Sends gradients until the trainers have finished and nothing is left. One push is under way at a time: what comes meanwhile
 * is merged into the next, so that slow servers get fewer and larger pushes instead of older ones. (DeepFM on generated
 * Criteo rows, 256 steps by a worker that is four times as fast as its server: AUC .718 with two pushes of one batch each
 * under way, .733 with one of all that waits; .745 without delay.)
 */
async function send({ run, exchange, outgoing, data }: Tools): Promise<void> {
  const { maxMergeGrads, wantedGrads, sendWaitTimes } = data.send;
  const merged = outgoing();
  while (await run.untilGradients()) {
    const slots = run.popGradients(maxMergeGrads);
    for (let waits = 0; slots.length < wantedGrads && waits < sendWaitTimes && !run.finished; ) {
      await run.woken(SEND_WAIT_MS);
      run.check();
      const more = run.popGradients(maxMergeGrads - slots.length);
      slots.push(...more);
      waits = more.length > 0 ? 0 : waits + 1;
    }
    merged.merge(slots);
    run.give(slots);
    await exchange.pushPull(merged, { step: exchange.steps, always: false });
  }
}
