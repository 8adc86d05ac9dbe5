// A trainer's weights to and from other software: safetensors files of PyTorch and Hugging Face, and ONNX models.
import { writeWhole } from "../checkpoint/index.ts";
import type { BatchLayout } from "../data/index.ts";
import type { Model } from "../models/index.ts";
import { onnxModel } from "../onnx/index.ts";
import { averageName, type Program, trace } from "../program/index.ts";
import {
  exportWeights,
  type ImportOptions,
  type ImportReport,
  importWeights,
  type NamingOptions,
} from "../weights/index.ts";
import { beginAverages } from "./saved-state.ts";
import type { Session } from "./session.ts";
import type { Strategy } from "./strategy.ts";
import { taskPrograms } from "./task-programs.ts";
import { taskOf } from "./tasks.ts";
import { type ScoreOptions, weightsOf } from "./weights.ts";

export interface ExportWeightsOptions extends NamingOptions, ScoreOptions {}

export interface ExportOnnxOptions extends ScoreOptions {
  /** Rows of the model's inputs, which are fixed; default the trainer's batch. */
  readonly batch?: number;
}

/** The output of an exported model. */
const PREDICTIONS = "predictions";

/** What `predict` computes, in f32 whatever the strategy computes in. */
function predictionProgram(model: Model, layout: BatchLayout): Program {
  const inputs = Object.fromEntries(layout.columns.map(({ name, shape, dtype }) => [name, { shape, dtype }]));
  const task = taskPrograms(model, layout);
  return trace(
    (columns, ctx) => {
      const { outputs } = task.inference(columns, ctx);
      return { [PREDICTIONS]: taskOf(model) === "binary" ? outputs!.sigmoid() : outputs! };
    },
    { inputs, training: false },
  );
}

export async function importInto(
  { parameters, layout }: Session,
  model: Model,
  path: string,
  options: ImportOptions,
): Promise<ImportReport> {
  const report = await importWeights(path, predictionProgram(model, layout), (name) => parameters.view(name), options);
  beginAverages(parameters, parameters.names);
  return report;
}

export async function exportFrom(
  session: Session,
  model: Model,
  strategy: Strategy,
  path: string,
  { weights, ...options }: ExportWeightsOptions,
): Promise<void> {
  const program = predictionProgram(model, session.layout);
  await exportWeights(path, program, parametersOf(session, strategy, weights), options);
}

export async function exportOnnxFrom(
  session: Session,
  model: Model,
  strategy: Strategy,
  path: string,
  { weights, batch = session.layout.batch, ...unknown }: ExportOnnxOptions,
): Promise<void> {
  const [wrong] = Object.keys(unknown);
  if (wrong !== undefined) throw new TypeError(`exportOnnx: unknown option "${wrong}"; allowed: batch, weights`);
  if (!Number.isInteger(batch) || batch < 1)
    throw new TypeError(`exportOnnx: batch must be a positive integer, got ${batch}`);
  const columns = session.layout.columns.map((column) => ({ ...column, shape: [batch, ...column.shape.slice(1)] }));
  const program = predictionProgram(model, { ...session.layout, batch, columns });
  await writeWhole(path, onnxModel(program, parametersOf(session, strategy, weights), { name: model.name }));
}

/** Trained numbers, or their averages where there are some. */
function parametersOf(
  { parameters }: Session,
  strategy: Strategy,
  weights: ScoreOptions["weights"],
): (name: string) => Float32Array {
  const kind = weightsOf(weights === undefined ? {} : { weights }, strategy);
  const averages = new Set(kind === "ema" ? parameters.names : []);
  return (name) => parameters.view(averages.has(averageName(name)) ? averageName(name) : name);
}
