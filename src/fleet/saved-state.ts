// A trainer as a checkpoint and back: parameters and optimizer state by name, tables by column, and the training state.
import { z } from "zod";
import {
  CheckpointError,
  type JsonValue,
  openCheckpoint,
  saveCheckpoint,
  type TableSource,
  type TensorSource,
} from "../checkpoint/index.ts";
import type { BatchLayout } from "../data/index.ts";
import type { Optimizer } from "../optim/index.ts";
import { type SaveMode, saveModes } from "../ps/index.ts";
import { openWholeCheckpoint } from "../ps/saved/index.ts";
import { gatheredTensors, isGathered } from "./gathered.ts";
import { type LossScaleHandle, lossScaleStates, restoreLossScales } from "./loss-scale.ts";
import { type LossScaleState, lossScaleStateSchema } from "./loss-scale-options.ts";
import type { ParameterStore } from "./parameters.ts";
import { loadServed, localTensors, saveParts, servedContents, servedTensorNames } from "./served-state.ts";
import type { Session } from "./session.ts";
import type { Trainer } from "./trainer.ts";
import type { TrainingState } from "./training-state.ts";

const FORMAT = "flotilla-trainer/1";

const savedSchema = z.object({
  format: z.literal(FORMAT),
  model: z.object({ name: z.string(), config: z.record(z.string(), z.unknown()) }),
  optimizers: z.record(z.string(), z.record(z.string(), z.unknown())),
  strategy: z.record(z.string(), z.unknown()),
  seed: z.number(),
  layout: z.object({ batch: z.number(), bytes: z.number(), columns: z.array(z.unknown()) }),
  training: z.object({
    step: z.number(),
    epoch: z.number(),
    samples: z.number(),
    seconds: z.number(),
    data: z.unknown().optional(),
    best: z.object({ value: z.number(), since: z.number() }).optional(),
  }),
  /** Of `amp: "fp16"`: a scale a thread. */
  lossScales: z.array(lossScaleStateSchema).optional(),
  /** Which rows of tables it holds; default all. */
  rows: z.enum(saveModes).optional(),
});

/** What a checkpoint says of the trainer that wrote it. */
export interface SavedTrainer {
  readonly model: { readonly name: string; readonly config: Readonly<Record<string, unknown>> };
  readonly optimizers: Readonly<Record<string, Optimizer>>;
  readonly strategy: Readonly<Record<string, unknown>>;
  readonly seed: number;
  readonly layout: BatchLayout;
  readonly training: TrainingState;
  readonly lossScales?: readonly LossScaleState[];
  readonly rows?: SaveMode;
}

function readSaved(path: string, state: JsonValue): SavedTrainer {
  const parsed = savedSchema.safeParse(state);
  if (!parsed.success)
    throw new CheckpointError(path, "is no checkpoint of a trainer; give one that trainer.save wrote");
  return parsed.data as unknown as SavedTrainer;
}

/** Reads what a checkpoint says of its trainer, to make an equal one. @throws CheckpointError when it is no such checkpoint. */
export async function readTrainerState(path: string): Promise<SavedTrainer> {
  await using checkpoint = await openCheckpoint(path, { verify: false });
  return readSaved(path, checkpoint.state);
}

export interface SaveTrainerOptions {
  /**
   * With servers: each partition writes its own part, into a folder that all machines share, all at once. Default: the first
   * worker writes everything.
   */
  readonly parts?: boolean;
  /**
   * Which rows of tables with an accessor are saved, of `parts`: `all`; `base`, those worth serving; `delta`, those of them
   * that gained enough since the last delta; `daily`, all, which are then a day older.
   */
  readonly mode?: SaveMode;
}

/** @throws TypeError for a wrong option */
export function checkSaveOptions(
  { parts = false, mode = "all", ...unknown }: SaveTrainerOptions,
  served: boolean,
): void {
  const fail = (what: string): never => {
    throw new TypeError(`save: ${what}`);
  };
  const [wrong] = Object.keys(unknown);
  if (wrong !== undefined) fail(`unknown option "${wrong}"; allowed: parts, mode`);
  if (!saveModes.includes(mode)) fail(`mode must be one of ${saveModes.join(", ")}, got ${JSON.stringify(mode)}`);
  if (parts && !served) fail("parts: true is for jobs with parameter servers, whose partitions write them");
  if (mode !== "all" && !parts) fail(`mode "${mode}" chooses rows by the servers' statistics: give parts: true`);
}

export async function saveTrainer(
  trainer: Trainer,
  session: Session,
  path: string,
  { parts = false, mode = "all" }: SaveTrainerOptions = {},
): Promise<void> {
  const { layout, served } = session;
  if (mode !== "all" && served?.model.tables.every(({ accessor }) => accessor === undefined)) {
    const how = 'strategy: { tables: { NAME: { accessor: { kind: "ctr" } } } }';
    throw new TypeError(`save: mode "${mode}" chooses rows by statistics, which tables with an accessor have: ${how}`);
  }
  const { data, ...training } = trainer.state;
  const lossScales = lossScalesOf(session);
  const state = {
    format: FORMAT,
    model: { name: trainer.model.name, config: trainer.model.config },
    optimizers: trainer.optimizers,
    strategy: trainer.strategy,
    seed: trainer.seed,
    layout,
    ...(mode === "all" ? {} : { rows: mode }),
    lossScales: lossScales.length > 0 ? lossScaleStates(trainer.job.heap, lossScales) : undefined,
    training: {
      ...training,
      // What a worker of several has left to read says nothing of the others.
      ...(data === undefined || trainer.job.worldSize > 1 ? {} : { data }),
      ...(served === undefined ? {} : { step: Math.max(training.step, served.steps) }),
    },
  };
  // Drops what JSON does not hold, such as absent options.
  const plain = JSON.parse(JSON.stringify(state)) as JsonValue;
  if (served !== undefined && parts) {
    const contents = { tensors: localTensors(session, served), state: plain };
    return await saveCheckpoint(path, contents, { beside: (folder) => saveParts(served, folder, mode) });
  }
  const contents = served === undefined ? localContents(session) : await servedContents(session, served);
  await saveCheckpoint(path, { ...contents, state: plain });
}

function localContents({ parameters, tables }: Session): { tensors: TensorSource[]; tables: TableSource[] } {
  const tensors = [
    ...parameters.names
      .filter((name) => !isGathered(parameters, name))
      .map((name) => ({ name, data: parameters.view(name) })),
    ...gatheredTensors(parameters),
  ];
  return {
    tensors: tensors.map(({ name, data }) => ({ name, dtype: "F32", shape: parameters.shape(name), data })),
    tables: Object.values(tables).map((table) => table.snapshot()),
  };
}

const lossScalesOf = ({ updates }: Session): LossScaleHandle[] => updates.flatMap(({ lossScale }) => lossScale ?? []);

/** Of a moving average the name of its weights. */
function averaged(parameters: ParameterStore, name: string): string | undefined {
  const { init } = parameters.parameter(name);
  return init.kind === "copy" ? init.of : undefined;
}

/** Averages among these parameters begin anew, with the weights as they are. */
export function beginAverages(parameters: ParameterStore, names: readonly string[]): void {
  for (const name of names) {
    const weights = averaged(parameters, name);
    if (weights !== undefined) parameters.view(name).set(parameters.view(weights));
  }
}

export async function loadTrainer(
  trainer: Trainer,
  sessionFor: (layout: BatchLayout) => Promise<Session>,
  path: string,
): Promise<void> {
  // Partitions of servers check the parts that they read.
  await using checkpoint = await openWholeCheckpoint(path, { verifyParts: trainer.job.servers === undefined });
  const saved = readSaved(path, checkpoint.state);
  if (saved.rows === "delta") {
    throw new CheckpointError(path, "is a delta: it holds the rows that had changed; load one that was saved whole");
  }
  const { model } = trainer;
  const differs = (a: unknown, b: unknown): boolean => JSON.stringify(a) !== JSON.stringify(b);
  if (saved.model.name !== model.name || differs(saved.model.config, model.config)) {
    throw new CheckpointError(
      path,
      `holds ${saved.model.name} ${JSON.stringify(saved.model.config)}, this trainer's model is ${model.name} ${JSON.stringify(model.config)}; make the trainer with the checkpoint's model`,
    );
  }
  const session = await sessionFor(saved.layout);
  const { parameters, tables, served } = session;
  const names = served === undefined ? parameters.names : servedTensorNames(session, served);
  const absent = names.filter((name) => !checkpoint.tensors.has(name));
  const optional = (name: string): boolean =>
    parameters.names.includes(name) && (isGathered(parameters, name) || averaged(parameters, name) !== undefined);
  const missing = absent.filter((name) => !optional(name));
  const surplus = [...checkpoint.tensors].filter((name) => !names.includes(name));
  if (missing.length > 0 || surplus.length > 0) {
    const lists = [
      missing.length > 0 ? `lacks ${missing.join(", ")}` : "",
      surplus.length > 0 ? `has besides ${surplus.join(", ")}` : "",
    ];
    throw new CheckpointError(
      path,
      `${lists.filter((text) => text !== "").join(" and ")}; its optimizers were ${JSON.stringify(saved.optimizers)}, its strategy ${JSON.stringify(saved.strategy)}: use the same`,
    );
  }
  for (const name of parameters.names) {
    if (checkpoint.tensors.has(name)) await checkpoint.readTensor(name, parameters.view(name));
  }
  beginAverages(
    parameters,
    absent.filter((name) => parameters.names.includes(name)),
  );
  for (const table of Object.values(tables)) {
    for await (const chunk of checkpoint.table(table.name).chunks()) table.load(chunk);
  }
  if (served !== undefined) {
    await trainer.job.servers!.together(`load ${path}`, async () => {
      await loadServed(session, served, checkpoint);
      await served.state.setSteps(saved.training.step);
    });
    await served.refresh();
  }
  restoreLossScales(trainer.job.heap, lossScalesOf(session), saved.lossScales ?? []);
  trainer.state = saved.training;
}
