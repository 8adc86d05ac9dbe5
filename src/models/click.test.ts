// The click models, traced and interpreted in float64, against forward passes written by hand; their gradients by finite
// differences; and that padding rows leave no trace.
import { describe, expect, test } from "vitest";
import { relativeError } from "../engine/testing.ts";
import { adagrad, scalarAt, sgd, updateRule } from "../optim/index.ts";
import { differentiate, interpret, type Program, placeUpdates, ReferenceTable } from "../program/index.ts";
import {
  centralDifference,
  expectGradients,
  type Feed,
  randomArray,
  randomFrom,
  randomWeights,
} from "../program/testing.ts";
import { create, dcnV2, deepFM, factorizationMachine, logisticRegression, type Model, wideAndDeep } from "./index.ts";
import { blankRows, type Parameters, PlainModel, randomRows, type Shape, selectRows, traced } from "./testing.ts";

const shape: Shape = { rows: 7, dense: 3, categorical: 4, bags: { tags: 3, history: 2 } };
const columns = { dense: 3, categorical: 4, bags: ["tags", "history"] };
const deep = { ...columns, dim: 3, hidden: [5, 4], activation: "tanh" } as const;
const models: Readonly<Record<string, Model>> = {
  "logistic regression": logisticRegression(columns),
  "factorization machine": factorizationMachine({ ...columns, dim: 3 }),
  "wide and deep": wideAndDeep(deep),
  deepFM: deepFM(deep),
  "deepFM with ReLU": deepFM({ ...deep, activation: "relu" }),
  "deepFM with batch norm": deepFM({ ...deep, norm: "batch" }),
  "deepFM with layer norm": deepFM({ ...deep, norm: "layer", activation: "sigmoid" }),
  "deepFM with dropout": deepFM({ ...deep, dropout: 0.4 }),
  "DCN-v2": dcnV2(deep),
  "DCN-v2 with everything": dcnV2({ ...deep, norm: "batch", dropout: 0.2, crossLayers: 2, activation: "relu" }),
};
const shapes: readonly [what: string, shape: Shape][] = [
  ["all columns", shape],
  ["categories alone", { ...shape, dense: 0, bags: {} }],
  ["numbers alone", { ...shape, categorical: 0, bags: {} }],
  ["bags alone", { ...shape, dense: 0, categorical: 0 }],
];

const isZeros = (name: string): boolean => name.endsWith("running-mean");

/** Random parameters; variances and scales above 0. */
function randomParameters(program: Program, seed: number): Record<string, Float64Array> {
  const random = randomFrom(seed);
  return Object.fromEntries(
    Object.entries(program.parameters).map(([name, { value }]) => {
      const size = program.values[value]!.shape.reduce((a, b) => a * b, 1);
      const positive = name.endsWith("gamma") || name.endsWith("running-variance");
      return [name, randomArray(random, size, positive ? 0.5 : -0.6, positive ? 1.5 : isZeros(name) ? 0.1 : 0.6)];
    }),
  );
}

const tablesOf = (program: Program, initial = randomWeights): Record<string, ReferenceTable> =>
  Object.fromEntries(
    Object.entries(program.tables).map(([name, spec]) => [name, new ReferenceTable(spec, { initial })]),
  );

/** Tables whose rows exist: in inference an unknown id has the zero row. */
function filledTables(program: Program): Record<string, ReferenceTable> {
  const tables = tablesOf(program);
  for (const table of Object.values(tables)) for (let key = 1n; key < 10n; key++) table.find(key, true);
  return tables;
}

describe.each(Object.entries(models))("%s", (_, model) => {
  const variant = (of: Shape): Model =>
    create(model.name, {
      ...model.config,
      dense: of.dense,
      categorical: of.categorical,
      bags: Object.keys(of.bags),
    });

  test.each(shapes)("with %s gives the logits that its paper says, in training and in inference", (_, shape) => {
    for (const training of [true, false]) {
      const program = traced(variant(shape), shape, training);
      const [parameters, feed] = [randomParameters(program, 1), randomRows(shape, 2)];
      const plain = new PlainModel(variant(shape), shape, structuredClone(parameters), feed, training).logits();
      const { outputs } = interpret(program, feed, { parameters, tables: filledTables(program) });
      expect(relativeError([...(outputs.logits as Float64Array)], plain)).toBeLessThan(1e-9);
      const losses = plain.map((x, i) => Math.log1p(Math.exp(x)) - x * (feed.label as Float64Array)[i]!);
      expect(outputs.loss![0]).toBeCloseTo(losses.reduce((a, b) => a + b, 0) / shape.rows, 9);
    }
  });

  test("has a gradient for every parameter, that of finite differences", () => {
    const program = traced(model, shape);
    const feed = randomRows(shape, 4);
    const parameters = randomParameters(program, 3);
    expectGradients(program, { inputs: feed, parameters }, { loss: "loss", tables: () => tablesOf(program) });
    const { program: backward, gradients } = differentiate(program, { loss: "loss" });
    const { value } = interpret(backward, feed, { parameters, tables: tablesOf(program) });
    for (const [name, { trainable }] of Object.entries(program.parameters)) {
      if (!trainable) continue;
      const moved =
        gradients[name] !== undefined && [...value(gradients[name])].some((g) => Math.abs(Number(g)) > 1e-9);
      expect(moved, name).toBe(true);
    }
  });

  test("has a gradient for every row of its table, that of finite differences", () => {
    const program = traced(model, shape);
    const feed = { ...randomRows(shape, 4), "scalar:default.lr": [1] };
    const parameters = randomParameters(program, 3);
    const rule = updateRule(sgd({ lr: 1 }), "default");
    const step = placeUpdates(differentiate(program, { loss: "loss" }), {
      parameter: () => undefined,
      field: () => rule,
    });
    const spec = program.tables.features!;
    const rules = Object.fromEntries(spec.fields.map(({ name }) => [name, rule]));
    const table = new ReferenceTable(spec, { initial: randomWeights, rules });
    interpret(step, feed, { parameters: structuredClone(parameters), tables: { features: table } });
    expect(table.keys.length).toBe(9);
    for (const key of table.keys) {
      for (const { name, dim } of spec.fields) {
        const start = Float64Array.from({ length: dim }, (_, d) => randomWeights(key, name, d));
        const loss = (): number => {
          const initial = (k: bigint, field: string, d: number): number =>
            k === key && field === name ? start[d]! : randomWeights(k, field, d);
          const state = { parameters: structuredClone(parameters), tables: tablesOf(program, initial) };
          return interpret(program, feed, state).outputs.loss![0] as number;
        };
        for (let d = 0; d < dim; d++) {
          const moved = start[d]! - table.weights(table.find(key, false), name)[d]!;
          expect(Math.abs(moved - centralDifference(start, d, loss)), `${name}[${d}] of ${key}`).toBeLessThan(1e-7);
        }
      }
    }
  });

  test("learns a batch by heart", () => {
    const program = traced(model, shape);
    const optimizer = adagrad({ lr: 0.3 });
    const rule = updateRule(optimizer, "default");
    const step = placeUpdates(differentiate(withSlots(program, rule.slots), { loss: "loss" }), {
      parameter: (_, { trainable }) => (trainable ? rule : undefined),
      field: () => rule,
    });
    const parameters = { ...zeroState(step), ...randomParameters(program, 5) };
    const rules = Object.fromEntries(step.tables.features!.fields.map(({ name }) => [name, rule]));
    const table = new ReferenceTable(step.tables.features!, { initial: randomWeights, rules });
    const losses: number[] = [];
    for (let i = 0; i < 40; i++) {
      const scalars = Object.fromEntries(
        rule.scalars.map((name) => [`scalar:${name}`, [scalarAt(optimizer, name, i)]]),
      );
      const feed = { ...randomRows(shape, 6), ...scalars, seed: [i] };
      losses.push(interpret(step, feed, { parameters, tables: { features: table } }).outputs.loss![0] as number);
    }
    expect(Math.min(...losses.slice(-5))).toBeLessThan(losses[0]! / 3);
  });

  test("takes no notice of what stands in padding rows", () => {
    const real = [0, 2, 3, 5];
    const garbage = randomRows(shape, 9);
    const clean: Feed = blankRows(garbage, shape, real);
    const program = traced(withoutDropout(model), shape);
    const rows = { ...shape, rows: real.length };
    const small = traced(withoutDropout(model), rows);
    const parameters = randomParameters(program, 8);
    const effects = (program: Program, feed: Feed): Record<string, number[]> => effectsOf(program, feed, parameters);
    const expected = effects(small, selectRows(garbage, shape, real));
    for (const feed of [{ ...garbage, weight: clean.weight!, "scalar:lossScale": clean["scalar:lossScale"]! }, clean]) {
      const actual = effects(program, feed);
      const logits = real.map((row) => actual.logits![row]!);
      for (const [name, values] of Object.entries({ ...actual, logits })) {
        expect(relativeError(values, expected[name]!), name).toBeLessThan(1e-12);
      }
    }
  });
});

const withoutDropout = (model: Model): Model =>
  create(model.name, "dropout" in model.config ? { ...model.config, dropout: 0 } : model.config);

type Slots = Program["tables"][string]["fields"][number]["slots"];

const withSlots = (program: Program, slots: Slots): Program => ({
  ...program,
  tables: Object.fromEntries(
    Object.entries(program.tables).map(([name, spec]) => [
      name,
      { ...spec, fields: spec.fields.map((field) => ({ ...field, slots })) },
    ]),
  ),
});

const zeroState = (program: Program): Record<string, Float64Array> =>
  Object.fromEntries(
    Object.entries(program.parameters).map(([name, { value }]) => [
      name,
      new Float64Array(program.values[value]!.shape.reduce((a, b) => a * b, 1)),
    ]),
  );

/** Loss, logits, every gradient, and the running statistics afterwards. */
function effectsOf(program: Program, feed: Feed, start: Parameters): Record<string, number[]> {
  const { program: backward, gradients } = differentiate(program, { loss: "loss" });
  const parameters = structuredClone(start) as Record<string, Float64Array>;
  const { outputs, value } = interpret(backward, feed, { parameters, tables: tablesOf(program) });
  const numbers = (data: Iterable<number | bigint>): number[] => Array.from(data, Number);
  return {
    loss: numbers(outputs.loss!),
    logits: numbers(outputs.logits!),
    ...Object.fromEntries(Object.entries(gradients).map(([name, id]) => [`gradient of ${name}`, numbers(value(id))])),
    ...Object.fromEntries(Object.entries(parameters).map(([name, data]) => [`${name} afterwards`, numbers(data)])),
  };
}
