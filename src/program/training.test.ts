// Whole training steps in the reference: gradients of tables, a small DeepFM, and optimizers placed into the program.
import { describe, expect, it } from "vitest";
import * as e from "../kernels/expr.ts";
import type { UpdateRule } from "../kernels/update-rule.ts";
import { deferUpdates, replicaInput } from "./defer-updates.ts";
import { differentiate } from "./differentiate.ts";
import { concat, fm, sigmoidCrossEntropy, weightedMean } from "./functions.ts";
import type { Program, TableSpec } from "./ir.ts";
import { placeUpdates } from "./place-updates.ts";
import { interpret } from "./reference.ts";
import { ReferenceTable } from "./reference-table.ts";
import type { Tensor } from "./tensor.ts";
import { centralDifference, expectGradients, randomArray, randomFeed, randomFrom, randomWeights } from "./testing.ts";
import { type TraceContext, trace } from "./trace.ts";
import { verify } from "./verify.ts";

/** w −= lr·g. */
const sgd: UpdateRule = {
  slots: [],
  scalars: ["lr"],
  weight: e.sub(e.input(0), e.mul(e.input(2), e.input(1))),
  state: [],
};
/** G += g²; w −= lr·g/√G. */
const sum = e.add(e.input(2), e.mul(e.input(1), e.input(1)));
const adagrad: UpdateRule = {
  slots: [{ name: "sum", initial: 0.1 }],
  scalars: ["lr"],
  weight: e.sub(e.input(0), e.div(e.mul(e.input(3), e.input(1)), e.sqrt(sum))),
  state: [sum],
};
/** One accumulator a parameter. */
const shared: UpdateRule = {
  slots: [{ name: "sum", initial: 3, perRow: true }],
  scalars: ["lr"],
  weight: e.sub(e.input(0), e.mul(e.mul(e.input(3), e.input(1)), e.sqrt(e.div(3, e.add(3, e.input(2)))))),
  state: [e.add(e.input(2), e.rowMean(e.mul(e.input(1), e.input(1))))],
};

const spec: TableSpec = {
  name: "features",
  seed: 1,
  fields: [
    { name: "w", dim: 1, slots: [], init: { kind: "zeros", scale: 0 } },
    { name: "v", dim: 3, slots: [], init: { kind: "uniform", scale: 1 } },
  ],
};
const newTable = (rule: UpdateRule = sgd): ReferenceTable =>
  new ReferenceTable(spec, { initial: randomWeights, rules: { w: rule, v: rule } });

const batch = 6;
const inputs = {
  ids: { shape: [batch, 4], dtype: "u64" },
  bag: { shape: [batch, 5], dtype: "u64" },
  dense: { shape: [batch, 2], dtype: "f32" },
  label: { shape: [batch], dtype: "f32" },
  weight: { shape: [batch], dtype: "f32" },
} as const;

function deepFM(x: { readonly [K in keyof typeof inputs]: Tensor }, ctx: TraceContext): Record<string, Tensor> {
  const table = ctx.table(spec);
  const rows = table.lookup(x.ids);
  const bag = table.lookup(x.bag);
  const v = rows.gather("v");
  let h = concat([v.flatten(), bag.gatherPool("v", "mean"), x.dense]);
  for (const layer of [0, 1]) {
    h = ctx.scope(`mlp/${layer}`, () => {
      const w = ctx.parameter("w", [h.shape[1]!, 3], { kind: "glorot-uniform" });
      return h
        .matmul(w)
        .add(ctx.parameter("b", [3], { kind: "zeros" }))
        .tanh();
    });
  }
  const wide = rows.gatherPool("w", "sum").add(bag.gatherPool("w", "sum"));
  const logits = h
    .matmul(ctx.parameter("out", [3, 1], { kind: "glorot-uniform" }))
    .add(wide)
    .add(fm(v))
    .reshape([-1]);
  return { loss: weightedMean(sigmoidCrossEntropy(logits, x.label), x.weight), logits };
}

const model = trace(deepFM, { inputs });
const random = randomFrom(3);
const feed = randomFeed(model, random, { low: 0.1, high: 0.9 });

describe("a small DeepFM", () => {
  it("has the dense gradients of central differences", () => {
    expectGradients(model, feed, { loss: "loss", tables: () => ({ features: newTable() }) });
  });

  it("has the table gradients of central differences, duplicates and pooled bags summed", () => {
    const differentiated = differentiate(model, { loss: "loss" });
    const step = placeUpdates(differentiated, { parameter: () => undefined, field: () => sgd });
    verify(step);
    const before = newTable();
    interpret(model, feed.inputs, { parameters: feed.parameters, tables: { features: before } });
    const after = newTable();
    interpret(step, { ...feed.inputs, "scalar:lr": [1] }, { parameters: feed.parameters, tables: { features: after } });
    expect(after.keys).toEqual(before.keys);
    const loss = (): number =>
      interpret(model, feed.inputs, { parameters: feed.parameters, tables: { features: before } }).outputs
        .loss![0] as number;
    for (const key of before.keys) {
      for (const field of ["w", "v"]) {
        const weights = before.weights(before.find(key, false), field);
        const moved = after.weights(after.find(key, false), field);
        for (const d of weights.keys()) {
          expect(weights[d]! - moved[d]!).toBeCloseTo(centralDifference(weights, d, loss), 7);
        }
      }
    }
    expect([...after.weights(0, "v")]).toEqual([0, 0, 0]);
  });

  it("inference inserts no rows", () => {
    const inference = trace(deepFM, { inputs, training: false });
    const table = newTable();
    interpret(inference, feed.inputs, { parameters: feed.parameters, tables: { features: table } });
    expect(table.size).toBe(0);
  });
});

/** Runs steps of a program and gives the parameters, the table and the losses. */
function run(
  program: Program,
  steps: number,
  rule: UpdateRule,
): { parameters: Record<string, Float64Array>; table: ReferenceTable; losses: number[] } {
  const parameters = startParameters(program);
  const table = new ReferenceTable(
    { ...spec, fields: spec.fields.map((field) => ({ ...field, slots: rule.slots })) },
    { initial: randomWeights, rules: { w: rule, v: rule } },
  );
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const result = interpret(
      program,
      { ...feed.inputs, "scalar:lr": [0.1] },
      { parameters, tables: { features: table } },
    );
    losses.push(result.outputs.loss![0] as number);
  }
  return { parameters, table, losses };
}

function startParameters(program: Program): Record<string, Float64Array> {
  return Object.fromEntries(
    Object.entries(program.parameters).map(([name, { value, init }]) => {
      const size = program.values[value]!.shape.reduce((n, d) => n * d, 1);
      const known = feed.parameters[name];
      return [name, known?.slice() ?? new Float64Array(size).fill(init.kind === "constant" ? init.value : 0)];
    }),
  );
}

const differentiated = differentiate(model, { loss: "loss" });

describe("placed updates", () => {
  for (const [name, rule] of Object.entries({ sgd, adagrad, shared })) {
    it(`${name}: in place and deferred agree, and the loss falls`, () => {
      const rules = { parameter: () => rule, field: () => rule };
      const inline = placeUpdates(differentiated, rules);
      verify(inline);
      const expected = run(inline, 5, rule);
      expect(expected.losses[4]).toBeLessThan(expected.losses[0]! * 0.95);

      const { step, parameters: names, tables, apply } = deferUpdates(differentiated, rules);
      verify(step);
      const program = apply({ parameters: names, tables, replicas: 1 });
      verify(program);
      const parameters = startParameters(program);
      const { table } = run(step, 0, rule);
      const state = { parameters, tables: { features: table } };
      for (let i = 0; i < 5; i++) {
        const { outputs } = interpret(step, feed.inputs, state);
        const gradients = Object.entries(outputs).map(([output, data]) => [replicaInput(output, 0), data]);
        interpret(program, { ...Object.fromEntries(gradients), "scalar:lr": [0.1] }, state);
      }
      for (const [parameter, values] of Object.entries(expected.parameters)) {
        for (const [i, value] of values.entries()) expect(parameters[parameter]![i], parameter).toBeCloseTo(value, 12);
      }
      for (const key of expected.table.keys) {
        expect([...table.weights(table.find(key, false), "v")]).toEqual([
          ...expected.table.weights(expected.table.find(key, false), "v"),
        ]);
      }
    });
  }

  it("an update follows the last reader of its weight and the first place its gradient exists", () => {
    const { ops } = placeUpdates(differentiated, { parameter: () => sgd, field: () => sgd });
    for (const [at, op] of ops.entries()) {
      if (op.kind !== "update") continue;
      const [weight, gradient] = op.inputs;
      expect(ops.slice(at + 1).some((later) => later.inputs.includes(weight!))).toBe(false);
      const previous = ops[at - 1]!;
      const isUpdate = previous.kind === "update" || previous.kind === "scatter_update";
      expect(isUpdate || previous.inputs.includes(weight!) || previous.outputs.includes(gradient!)).toBe(true);
    }
  });

  it("leaves parameters without a rule alone, and keeps state by name", () => {
    const program = placeUpdates(differentiated, {
      parameter: (name) => (name === "out" ? adagrad : undefined),
      field: () => sgd,
    });
    expect(Object.keys(program.parameters)).toEqual([...Object.keys(model.parameters), "out/sum"]);
    expect(program.parameters["out/sum"]).toMatchObject({
      trainable: false,
      group: "optimizer",
      init: { kind: "constant", value: 0.1 },
    });
  });

  it("sums the gradients of replicas, in shares that together move everything", () => {
    const rules = { parameter: () => sgd, field: () => sgd };
    const { step, parameters: names, tables, apply } = deferUpdates(differentiated, rules);
    const parameters = startParameters(step);
    const state = { parameters, tables: { features: newTable() } };
    const other = { ...feed.inputs, dense: randomArray(random, batch * 2), label: randomArray(random, batch, 0, 1) };
    const gradients = [feed.inputs, other].flatMap((inputs, replica) =>
      Object.entries(interpret(step, inputs, state).outputs).map(([output, data]) => [
        replicaInput(output, replica),
        data,
      ]),
    );
    const expected = Object.fromEntries(
      names.map((name) => {
        const parts = gradients.filter(([input]) => input === `grad:${name}#0` || input === `grad:${name}#1`);
        const [a, b] = parts.map(([, data]) => data as Float64Array);
        return [name, parameters[name]!.map((w, i) => w - 0.5 * (a![i]! + b![i]!))];
      }),
    );
    const shares = [
      { parameters: names.slice(0, 2), tables, replicas: 2 },
      { parameters: names.slice(2), tables: [], replicas: 2 },
    ];
    for (const share of shares) {
      interpret(apply(share), { ...Object.fromEntries(gradients), "scalar:lr": [0.5] }, state);
    }
    for (const name of names) {
      for (const [i, w] of parameters[name]!.entries()) expect(w, name).toBeCloseTo(expected[name]![i]!, 12);
    }
    expect(() => apply({ parameters: names, tables, replicas: 0 })).toThrow(/1 or more replicas, got 0/);
  });
});
