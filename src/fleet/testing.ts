// For tests: click data from a known model, and training once more in float64, by the interpreter, over the same batches.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { vi } from "vitest";
import { columnOf, csv, type Dataset } from "../data/index.ts";
import { decodeAll, type Row, temporaryFolder } from "../data/testing.ts";
import { Heap } from "../memory/index.ts";
import type { Model } from "../models/index.ts";
import { traced } from "../models/testing.ts";
import { scalarAt } from "../optim/index.ts";
import {
  differentiate,
  interpret,
  type Program,
  placeUpdates,
  ReferenceTable,
  type TableSpec,
} from "../program/index.ts";
import { randomFrom } from "../program/testing.ts";
import { columnsOf, layoutOf, Table } from "../table/index.ts";
import type { FitOptions, FitResult } from "./fit-options.ts";
import { initialise } from "./initialise.ts";
import { modelRules, type OptimizerGroups } from "./optimizer-groups.ts";
import type { Strategy } from "./strategy.ts";
import type { Trainer } from "./trainer.ts";

/** Columns of the data below, for models. */
export const clickColumns = { categorical: 3, dense: 2, bags: ["tags"] };

export interface ClickFile {
  readonly path: string;
  readonly lines: readonly string[];
  /** Of the true probabilities, which no model beats on much data. */
  readonly bestLogits: Float32Array;
  readonly labels: Float32Array;
}

/** Lines "label,x,y,a,b,c,tags": two numbers, three categories of which two act together, and a bag of tags. */
export function clickFile(folder: string, name: string, rows: number, seed: number): ClickFile {
  const random = randomFrom(seed);
  const pick = (n: number): number => Math.floor(random() ** 1.5 * n);
  const effect = (n: number): number => Math.sin(n * 12.9898) * 1.2;
  const lines: string[] = [];
  const bestLogits = new Float32Array(rows);
  const labels = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const [x, y, a, b, c] = [random() * 2 - 1, random() * 2 - 1, pick(6), pick(6), pick(9)];
    const tags = Array.from({ length: pick(4) }, () => pick(5));
    const own = effect(a) + effect(10 + b) + effect(20 + c) + (a < 3 && b < 3 ? effect(40 + 3 * a + b) : 0);
    const bag = tags.reduce((sum, tag) => sum + effect(30 + tag) / 2, 0);
    bestLogits[row] = 1.1 * x - 0.7 * y + own + bag - 0.5;
    labels[row] = random() < 1 / (1 + Math.exp(-bestLogits[row]!)) ? 1 : 0;
    lines.push(
      `${labels[row]},${x.toFixed(4)},${y.toFixed(4)},a${a},b${b},c${c},${tags.map((t) => `t${t}`).join("|")}`,
    );
  }
  const path = join(folder, name);
  writeLines(path, lines);
  return { path, lines, bestLogits, labels };
}

export const writeLines = (path: string, lines: readonly string[]): void =>
  writeFileSync(path, `${lines.join("\n")}\n`);

/** The dataset of files of `clickFile`. */
export const clicks = (paths: string | string[], batch: number, options: Partial<Dataset["spec"]> = {}): Dataset =>
  csv(paths, {
    batch,
    header: false,
    columns: ["label", "x", "y", "a", "b", "c", "tags"],
    schema: {
      label: { column: "label" },
      dense: ["x", "y"],
      categorical: ["a", "b", "c"],
      bags: { tags: { column: "tags", separator: "|", max: 3 } },
    },
    ...(options as object),
  });

export { temporaryFolder };

/** Numbers of parameters by name, and of table rows by "table/column[key]". */
export type Numbers = ReadonlyMap<string, readonly number[]>;

/** Everything that a trainer has learnt, optimizer state included. */
export async function learnt(trainer: Trainer, dataset: Dataset): Promise<Numbers> {
  const { parameters, tables } = await trainer.session(dataset.layout);
  const result = new Map<string, readonly number[]>();
  for (const name of parameters.names) result.set(name, [...parameters.view(name)]);
  for (const [name, table] of Object.entries(tables)) {
    const { columns, chunks } = table.snapshot();
    for (const { keys, columns: data } of chunks()) {
      for (const [row, key] of Array.from(keys).entries()) {
        for (const [i, { name: column, width }] of columns.entries()) {
          result.set(`${name}/${column}[${key}]`, [...data[i]!.subarray(row * width, (row + 1) * width)]);
        }
      }
    }
  }
  return result;
}

/** The largest |a − b| / max(1, |b|) over all numbers, and where; infinite where names differ. */
export function difference(actual: Numbers, expected: Numbers): { error: number; where: string } {
  let worst = { error: 0, where: "" };
  for (const name of new Set([...actual.keys(), ...expected.keys()])) {
    const [a, b] = [actual.get(name), expected.get(name)];
    if (a?.length !== b?.length) return { error: Number.POSITIVE_INFINITY, where: name };
    for (const [i, x] of a!.entries()) {
      const error = Object.is(x, b![i]) ? 0 : Math.abs(x - b![i]!) / Math.max(1, Math.abs(b![i]!));
      if (!(error <= worst.error)) worst = { error, where: `${name}[${i}]: ${x}, not ${b![i]}` };
    }
  }
  return worst;
}

/** Fits while the loop's clock runs fast: it looks at the statistics about every millisecond instead of twice a second. */
export async function fitWatched(trainer: Trainer, dataset: Dataset, options: FitOptions): Promise<FitResult> {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  let done = false;
  const result = trainer.fit(dataset, { progress: false, ...options }).finally(() => {
    done = true;
  });
  // Failures are the caller's.
  result.catch(() => undefined);
  while (!done) {
    await delay(1);
    vi.advanceTimersByTime(500);
  }
  vi.useRealTimers();
  return result;
}

/** A signal that aborts when the model's bias has been seen to move `times` times; call `stop` when done. */
export async function abortAfter(
  trainer: Trainer,
  dataset: Dataset,
  times: number,
): Promise<{ signal: AbortSignal; stop(): void }> {
  const { parameters } = await trainer.session(dataset.layout);
  const bias = parameters.view("bias");
  const abort = new AbortController();
  let [last, moved, stopped] = [bias[0], 0, false];
  const look = (): void => {
    if (bias[0] !== last) moved++;
    last = bias[0];
    if (moved >= times) abort.abort();
    else if (!stopped) setTimeout(look);
  };
  look();
  return {
    signal: abort.signal,
    stop: () => {
      stopped = true;
    },
  };
}

export interface PlainOptions {
  readonly optimizers: OptimizerGroups;
  /** Rows a step. */
  readonly batch: number;
  readonly seed?: number;
  readonly strategy?: Pick<Strategy, "clip" | "ema">;
}

/** The training program of a model for batches of a dataset. */
export function tracedFor(model: Model, { layout }: Dataset, rows: number): Program {
  const width = (name: string): number => layout.columns.find((column) => column.name === name)?.width ?? 0;
  const others = layout.columns.filter(({ dtype, name }) => dtype === "u64" && name !== "categorical");
  const bags = Object.fromEntries(others.map((column) => [column.name, column.width]));
  return traced(model, { rows, dense: width("dense"), categorical: width("categorical"), bags });
}

/** Start values of a program's parameters. */
export function startOf({ parameters, values }: Program, seed: number): Record<string, Float64Array> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, { value, init }]) => {
      const { shape } = values[value]!;
      const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
      const original = init.kind === "copy" ? init.of : name;
      initialise(data, shape, parameters[original]!.init, original, seed);
      return [name, Float64Array.from(data)];
    }),
  );
}

/** The columns of a batch of up to `batch` rows; the rest weighs nothing. */
export function columnsFeed(
  { layout }: Dataset,
  rows: readonly Row[],
  batch: number,
): Record<string, Float64Array | BigUint64Array> {
  const column = (name: string): Float64Array | BigUint64Array => {
    const { width, dtype } = columnOf(layout, name);
    // Decoders leave the weights to the reader.
    const flat = rows.flatMap((row) => (name === "weight" ? [1] : (row[name]! as number[])));
    const data = dtype === "u64" ? new BigUint64Array(batch * width) : new Float64Array(batch * width);
    data.set(flat as never);
    return data;
  };
  return Object.fromEntries(layout.columns.map(({ name }) => [name, column(name)] as const));
}

/** A trainer by definition: one thread, float64, every step the interpreter's. */
export class PlainTrainer {
  readonly #program: Program;
  readonly #optimizers: OptimizerGroups;
  readonly #batch: number;
  readonly #dataset: Dataset;
  readonly #parameters: Record<string, Float64Array>;
  readonly #tables: Record<string, ReferenceTable>;
  #step = 0;

  constructor(model: Model, dataset: Dataset, { optimizers, batch, seed = 1, strategy = {} }: PlainOptions) {
    this.#optimizers = optimizers;
    this.#batch = batch;
    this.#dataset = dataset;
    const forward = tracedFor(model, dataset, batch);
    const { clip, ema: average } = strategy;
    const rule = modelRules(optimizers, forward, clip);
    const tables = Object.entries(forward.tables).map(([name, spec]): [string, TableSpec] => [
      name,
      { ...spec, fields: spec.fields.map((field) => ({ ...field, slots: rule.field(field.name).slots })) },
    ]);
    const differentiated = differentiate({ ...forward, tables: Object.fromEntries(tables) }, { loss: "loss" });
    this.#program = placeUpdates(differentiated, {
      parameter: (name, { trainable }) => (trainable ? rule.parameter(name) : undefined),
      field: (_, field) => rule.field(field),
      clip,
      average,
    });
    this.#parameters = startOf(this.#program, seed);
    this.#tables = Object.fromEntries(
      tables.map(([name, spec]) => {
        const rules = Object.fromEntries(spec.fields.map((field) => [field.name, rule.field(field.name)]));
        return [name, new ReferenceTable(spec, { initial: startOfRows(spec), rules })];
      }),
    );
  }

  /** One pass over the dataset in the order of its files; returns the loss of each step. */
  async epoch(): Promise<number[]> {
    const heap = Heap.create({ maxBytes: 2 ** 26 });
    const rows = await decodeAll(heap, this.#dataset);
    const losses: number[] = [];
    for (let at = 0; at < rows.length; at += this.#batch) losses.push(this.#train(rows.slice(at, at + this.#batch)));
    return losses;
  }

  #train(rows: readonly Row[]): number {
    const scalars = Object.keys(this.#program.inputs).flatMap((input) => {
      const [group, name] = input.replace("scalar:", "").split(".");
      const optimizer = name === undefined ? undefined : this.#optimizers[group!];
      return optimizer === undefined ? [] : [[input, [scalarAt(optimizer, input, this.#step)]] as const];
    });
    const feed = {
      ...columnsFeed(this.#dataset, rows, this.#batch),
      ...Object.fromEntries(scalars),
      "scalar:lossScale": [1 / rows.length],
    };
    const { outputs } = interpret(this.#program, feed, { parameters: this.#parameters, tables: this.#tables });
    this.#step++;
    return outputs.loss![0] as number;
  }

  /** In the form of `learnt`. */
  get numbers(): Numbers {
    const result = new Map<string, readonly number[]>();
    for (const [name, data] of Object.entries(this.#parameters)) result.set(name, [...data]);
    for (const [name, table] of Object.entries(this.#tables)) {
      for (const key of table.keys) {
        const row = table.find(key, false);
        for (const field of table.spec.fields) {
          result.set(`${name}/${field.name}[${key}]`, [...table.weights(row, field.name)]);
          for (const [i, slot] of field.slots.entries()) {
            result.set(`${name}/${field.name}.${slot.name}[${key}]`, [...table.slots(row, field.name)[i]!]);
          }
        }
      }
    }
    return result;
  }
}

/** The start values of a table's rows, read from a table. */
function startOfRows(spec: TableSpec): (key: bigint, field: string, element: number) => number {
  const heap = Heap.create({ maxBytes: 2 ** 26 });
  const table = Table.create(heap, spec);
  const [keyAt, rowAt] = [heap.alloc(8), heap.alloc(4)];
  const columns = columnsOf(spec, layoutOf(spec));
  return (key, field, element) => {
    heap.u64(keyAt, 1)[0] = key;
    table.lookup(keyAt, 1, rowAt, true);
    const { offset, width } = columns.find(({ name }) => name === field)!;
    return heap.f32(heap.u32(rowAt, 1)[0]! * 16 + offset, width)[element]!;
  };
}
