// Modes `sync` and `half-async`: the threads of this process take every step together. Their gradients go out as one push,
// and the rows of the next step come back with the reply, so that they are those of the step before. In mode `sync` the
// servers answer when the gradients of all workers are applied.
import type { Tools } from "./communicator.ts";
import type { Outgoing } from "./outgoing.ts";
import type { Taken } from "./run.ts";

export async function runSteps(tools: Tools): Promise<void> {
  const { run, exchange, preparer, data } = tools;
  const outgoing = tools.outgoing();
  let batches = await take(tools);
  await exchange.pull(preparer, addresses(batches), { dense: "moved" });
  while (batches.length > 0) {
    for (const { thread } of batches) run.prepared[thread]!.fill();
    const [slots, next] = await Promise.all([
      Promise.all(batches.map(({ thread }) => run.gradientsOf(thread))),
      take(tools),
    ]);
    outgoing.merge(slots);
    // However many threads it had, a step of the optimizer is one.
    outgoing.batches = 1;
    run.give(slots);
    batches = next;
    await push(tools, outgoing, addresses(batches));
  }
  if (data.model.mode === "sync") await keepUp(tools, outgoing);
}

const addresses = (batches: readonly Taken[]): number[] => batches.map(({ address }) => address);

/** The next batch of every thread that has one; the others are told that they have had their last. */
async function take({ run, preparer }: Tools): Promise<Taken[]> {
  const taken = await Promise.all(run.prepared.map((_, thread) => run.take(thread)));
  for (const [thread, batch] of taken.entries()) {
    if (batch === undefined) run.prepared[thread]!.end();
    else preparer.number(batch.address);
  }
  return taken.filter((batch) => batch !== undefined);
}

function push({ exchange, preparer, data }: Tools, outgoing: Outgoing, slots: readonly number[]): Promise<void> {
  return exchange.pushPull(outgoing, { step: exchange.steps, always: data.model.mode === "sync", preparer, slots });
}

/** Takes part in the steps of workers that have more data, until none has any: a step without a row counts for nothing. */
async function keepUp(tools: Tools, outgoing: Outgoing): Promise<void> {
  outgoing.clear();
  for (let before = -1; before !== tools.exchange.steps; ) {
    before = tools.exchange.steps;
    await push(tools, outgoing, []);
    tools.run.check();
  }
}
