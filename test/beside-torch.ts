// For long tests: one recipe in flotilla and in PyTorch, from the same start values over the same rows in the same order.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { findPython } from "../bench/lib/python.ts";
import { type Dataset, type TensorColumn, tensors } from "../src/data/index.ts";
import { temporaryFolder } from "../src/data/testing.ts";
import { init } from "../src/fleet/index.ts";
import type { Model } from "../src/models/index.ts";
import { adam, momentum } from "../src/optim/index.ts";

export type Columns = Readonly<Record<string, TensorColumn>>;

export interface Recipe {
  readonly model: Model;
  /** The same network in test/python/accuracy.py, and what it is told. */
  readonly network: "digits" | "objects" | "gpt";
  readonly options?: Readonly<Record<string, number>>;
  readonly train: Columns;
  readonly test: Columns;
  readonly batch: number;
  readonly epochs: number;
  /** The rate is the highest: it falls to 0 along half a cosine, so that the last steps do not shake the result. */
  readonly optimizer: { readonly name: "momentum" | "adam"; readonly lr: number };
  /** Of the start values. */
  readonly seed: number;
}

export interface Reached {
  /** Of the first steps, before each. */
  readonly losses: readonly number[];
  /** Over the test rows. */
  readonly loss: number;
  readonly accuracy: number;
  /** Of training alone. */
  readonly seconds: number;
}

/** How many steps' losses are compared. */
const FIRST_STEPS = 20;
const script = fileURLToPath(new URL("python/accuracy.py", import.meta.url));
const python = findPython(["torch", "numpy"]);

/** Why there is nothing to compare with; undefined where there is. */
export const whyNoTorch = "missing" in python ? python.missing : undefined;

/** Trains in both systems, one after the other, one thread each. */
export async function besideTorch(recipe: Recipe): Promise<{ readonly ours: Reached; readonly theirs: Reached }> {
  const folder = temporaryFolder();
  try {
    const start = `${folder.path}/start`;
    mkdirSync(start);
    const ours = await train(recipe, start);
    const files = (part: "train" | "test"): object =>
      Object.fromEntries(
        Object.entries(recipe[part]).map(([name, { data, shape }]) => {
          const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
          const dtype = data instanceof Float32Array ? "f32" : "i32";
          return [name, { file: folder.write(`${part}-${name}`, bytes), dtype, shape }];
        }),
      );
    const { network, options = {}, batch, epochs } = recipe;
    const { name, lr } = recipe.optimizer;
    const question = {
      ...{ network, options, batch, epochs, start, firstSteps: FIRST_STEPS },
      optimizer: name === "momentum" ? { name, lr, momentum: 0.9 } : { name, lr },
      train: files("train"),
      test: files("test"),
    };
    return { ours, theirs: askTorch(question) };
  } finally {
    folder.dispose();
  }
}

/** Trains here; the start values go to a checkpoint in the folder. */
async function train({ model, ...recipe }: Recipe, start: string): Promise<Reached> {
  const { batch, epochs, seed } = recipe;
  const steps = epochs * Math.floor(recipe.train.label!.shape[0]! / batch);
  const lr = { kind: "cosine", lr: recipe.optimizer.lr, total: steps } as const;
  const optimizer = recipe.optimizer.name === "adam" ? adam({ lr }) : momentum({ lr, momentum: 0.9 });
  const job = await init({ threads: 1 });
  try {
    const trainerOf = () => job.trainer(model, { optimizer, strategy: { mode: "sync" }, seed });
    const first = trainerOf();
    const losses: number[] = [];
    for (let step = 0; step < FIRST_STEPS; step++) {
      const rows = tensors(slice(recipe.train, step * batch, batch), { batch });
      if (step === 0) {
        // Evaluating makes the start values.
        await first.evaluate(rows);
        await first.save(start);
      }
      await first.fit(rows, {
        epochs: step + 1,
        progress: false,
        onRecord: (record) => {
          if (record.type === "train") losses.push(record.loss);
        },
      });
    }
    await first.close();
    const trainer = trainerOf();
    // Batches are whole in training: a padded row would count in the statistics of batch normalisation.
    const rows: Dataset = tensors(recipe.train, { batch, lastBatch: "drop" });
    const { seconds } = await trainer.fit(rows, { epochs, progress: false });
    const { loss, accuracy } = await trainer.evaluate(tensors(recipe.test, { batch }));
    return { losses, loss, accuracy, seconds };
  } finally {
    await job.close();
  }
}

function slice(columns: Columns, from: number, rows: number): Columns {
  return Object.fromEntries(
    Object.entries(columns).map(([name, { data, shape }]) => {
      const size = data.length / shape[0]!;
      return [name, { data: data.slice(from * size, (from + rows) * size), shape: [rows, ...shape.slice(1)] }];
    }),
  );
}

function askTorch(question: object): Reached {
  if ("missing" in python) throw new Error(python.missing);
  const input = JSON.stringify(question);
  const child = spawnSync(python.path, [script], { input, encoding: "utf8", maxBuffer: 2 ** 24 });
  if (child.status !== 0) throw new Error(`${script} ended with ${child.status}:\n${child.stderr.slice(-2000)}`);
  return JSON.parse(child.stdout) as Reached;
}
