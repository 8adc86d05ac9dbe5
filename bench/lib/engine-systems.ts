// Systems of the engine benchmark: flotilla's trainer and its peers, each with a model in memory, training when asked to.
import * as fleet from "../../src/fleet/index.ts";
import { type EngineModel, type EngineRecipe, engineRecipes } from "./engine-recipes.ts";
import { installPeer, jaxJs, type NpmPeer, tensorFlowJs } from "./npm-peer.ts";
import { type Environment, Peer } from "./python.ts";
import { counted, mean, say } from "./report.ts";

export interface EngineSystem {
  readonly name: string;
  /** Whose it is; flotilla's own have none. */
  readonly peer?: string;
  /** Seconds of a training step: the mean of some. */
  step(): Promise<number>;
  close(): Promise<void>;
}

export interface FlotillaOptions {
  readonly threads: number;
  readonly engine?: "onednn" | "wasm";
  readonly strategy?: fleet.StrategyOptions;
  /** Rows of a step; default the recipe's. */
  readonly batch?: number;
}

/** Steps before those that are measured, so that what starting costs is in neither. */
const WARM_STEPS = 1;

/** Several threads train on their parts of the batch and average their gradients each step, as one thread would train on all. */
export async function openFlotilla(model: EngineModel, options: FlotillaOptions): Promise<EngineSystem> {
  const { threads, engine = "onednn", strategy = {} } = options;
  const recipe: EngineRecipe = engineRecipes[model];
  const { batch = recipe.batch } = options;
  const { steps } = recipe;
  const job = await fleet.init({ threads, engine });
  const trainer = job.trainer(recipe.model(), {
    optimizer: recipe.optimizer,
    strategy: { mode: threads === 1 ? "async" : "sync", ...strategy },
  });
  const part = batch / threads;
  const few = recipe.rows(WARM_STEPS * batch, part);
  const many = recipe.rows((WARM_STEPS + steps) * batch, part);
  const secondsOf = async (dataset: typeof few): Promise<number> => {
    const before = trainer.state.seconds;
    // Epochs are counted from the trainer's first one.
    await trainer.fit(dataset, { epochs: trainer.state.epoch + 1, progress: false });
    return trainer.state.seconds - before;
  };
  await secondsOf(few);
  const { amp } = strategy;
  return {
    name: `flotilla ${engine}, ${counted(threads, "thread")}${amp === undefined ? "" : `, ${amp}`}`,
    async step() {
      const [short, long] = [await secondsOf(few), await secondsOf(many)];
      return Math.max(1e-9, long - short) / steps;
    },
    async close() {
      await trainer.close();
      await job.close();
    },
  };
}

export async function openTorch(
  python: string,
  model: EngineModel,
  { threads, environment, bf16 = false }: { threads: number; environment: Environment; bf16?: boolean },
): Promise<EngineSystem> {
  const recipe: EngineRecipe = engineRecipes[model];
  const args = [model, "--batch", String(recipe.batch), "--threads", String(threads), ...(bf16 ? ["--bf16"] : [])];
  const count = String(threads);
  const peer = new Peer(python, "engine_torch.py", args, {
    ...environment,
    OMP_NUM_THREADS: count,
    OPENBLAS_NUM_THREADS: count,
  });
  await peer.next();
  return {
    name: `PyTorch tuned, ${counted(threads, "thread")}${bf16 ? ", bf16" : ""}`,
    peer: "PyTorch",
    ...turns(peer, recipe.steps),
  };
}

const turns = (peer: Peer, steps: number): Pick<EngineSystem, "step" | "close"> => ({
  async step() {
    const { seconds } = await peer.ask<{ seconds: number[] }>(String(steps));
    return mean(seconds);
  },
  close: () => peer.close(),
});

/** The libraries for JavaScript that can train the MLP on a CPU; the other models they cannot, or not within minutes. */
const SCRIPTED: readonly { readonly title: string; readonly from: NpmPeer; readonly script: string }[] = [
  { title: "jax-js", from: jaxJs, script: "engine-jax.ts" },
  { title: "TensorFlow.js", from: tensorFlowJs, script: "engine-tfjs.ts" },
];

/** Steps of one measurement of them: they take up to 60 ms. */
const SCRIPTED_STEPS = 20;

/** Those that can be installed and started here, with one thread each; the others are named. */
export async function openScripted(): Promise<EngineSystem[]> {
  const { batch } = engineRecipes.mlp;
  const systems: EngineSystem[] = [];
  for (const { title, from, script } of SCRIPTED) {
    const installed = installPeer(from);
    if ("missing" in installed) {
      say(`${title} left out: ${installed.missing}`);
      continue;
    }
    const peer = new Peer(process.execPath, script, [installed.folder, String(batch)]);
    try {
      await peer.next();
      systems.push({ name: `${title} wasm, 1 thread`, peer: title, ...turns(peer, SCRIPTED_STEPS) });
    } catch (error) {
      say(`${title} left out: ${(error as Error).message}`);
    }
  }
  return systems;
}
