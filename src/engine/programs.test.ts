// Whole training programs, traced, differentiated, planned and run, against the float64 interpreter of the same program:
// random stacks of layers, and a click model with tables.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { add, div, input, mul, rowMean, sqrt, sub } from "../kernels/expr.ts";
import type { UpdateRule } from "../kernels/index.ts";
import { lower } from "../passes/index.ts";
import {
  batchNorm,
  concat,
  differentiate,
  dropout,
  fm,
  interpret,
  layerNorm,
  type ModelFunction,
  type Program,
  placeUpdates,
  plan,
  ReferenceTable,
  sigmoidCrossEntropy,
  softmaxCrossEntropy,
  type Tensor,
  type TraceContext,
  trace,
  weightedMean,
} from "../program/index.ts";
import { randomFeed, randomFrom } from "../program/testing.ts";
import { Table, type TableSpec } from "../table/index.ts";
import type { Provider } from "./provider.ts";
import { wasmProvider } from "./providers/index.ts";
import { scratchBytes } from "./scratch.ts";
import type { OpSignature } from "./tensor.ts";
import { Bench, plainProvider, relativeError, testHeap } from "./testing.ts";

const heap = testHeap();

/** Smooth in the gradient also where that is 0, so that f32 and float64 stay together. */
const squares = add(input(2), mul(input(1), input(1)));
const adagrad: UpdateRule = {
  slots: [{ name: "sum", initial: 1 }],
  scalars: ["lr"],
  weight: sub(input(0), div(mul(input(3), input(1)), sqrt(squares))),
  state: [squares],
};
const shared: UpdateRule = {
  slots: [{ name: "sum", initial: 1, perRow: true }],
  scalars: ["lr"],
  weight: sub(input(0), div(mul(input(3), input(1)), sqrt(input(2)))),
  state: [add(input(2), rowMean(mul(input(1), input(1))))],
};

const batch = 9;
const inputs = {
  dense: { shape: [batch, 5], dtype: "f32" },
  ids: { shape: [batch, 4], dtype: "u64" },
  label: { shape: [batch], dtype: "f32" },
  class: { shape: [batch], dtype: "i32" },
  weight: { shape: [batch], dtype: "f32" },
} as const;
type Inputs = { readonly [K in keyof typeof inputs]: Tensor };

const spec: TableSpec = {
  name: "features",
  seed: 5,
  fields: [
    { name: "v", dim: 6, slots: adagrad.slots, init: { kind: "zeros", scale: 0 } },
    { name: "w", dim: 1, slots: shared.slots, init: { kind: "zeros", scale: 0 } },
  ],
};
const rules = { features: { v: adagrad, w: shared } };

/** Runs steps both ways and compares all outputs, parameters and tables after each. */
function compare(program: Program, seed: number, steps: number, provider: Provider = plainProvider(heap)): void {
  const planned = plan(lower(program), { scratch: (op) => scratchBytes(op, provider) });
  const usesTable = Object.keys(program.tables).length > 0;
  const table = Table.create(heap, spec);
  const twin = new ReferenceTable(spec, { rules: rules.features });
  const bench = new Bench(planned, {
    heap,
    provider,
    ...(usesTable && { tables: { features: table }, layouts: { features: table.layout }, rules }),
  });
  const random = randomFrom(seed);
  const { parameters } = randomFeed(program, random, { low: 0.1, high: 0.9 });
  for (const [name, operand] of Object.entries(planned.parameters)) {
    bench.write(operand, [...parameters[name]!]);
    parameters[name] = Float64Array.from(bench.read(operand));
  }
  for (let step = 0; step < steps; step++) {
    const feed = randomFeed(program, random, { classes: 3 }).inputs;
    const given = Object.fromEntries(
      Object.entries(planned.inputs).map(([name, operand]) => {
        const values =
          name === "weight" ? Array.from(feed[name] as Float64Array, (w) => (w < -0.5 ? 0 : 1)) : feed[name]!;
        bench.write(operand, Array.from<number | bigint, number>(values, Number));
        return [name, operand.dtype === "u64" ? (values as BigUint64Array) : bench.read(operand)];
      }),
    );
    bench.executable.run();
    const expected = interpret(program, given, { parameters, tables: usesTable ? { features: twin } : {} });
    for (const [name, operand] of Object.entries(planned.outputs)) {
      const numbers = Array.from(expected.outputs[name]!, Number);
      expect(relativeError(bench.read(operand), numbers), `${name} of step ${step}`).toBeLessThan(2e-3);
    }
    for (const [name, operand] of Object.entries(planned.parameters)) {
      expect(relativeError(bench.read(operand), [...parameters[name]!]), `${name} after step ${step}`).toBeLessThan(
        2e-3,
      );
    }
    for (const { name } of usesTable ? spec.fields : []) {
      const weights = twin.keys.flatMap((key) => [...twin.weights(twin.find(key, false), name)]);
      expect(relativeError(weightsOf(table, twin.keys, name), weights), `${name} after step ${step}`).toBeLessThan(
        2e-3,
      );
    }
  }
  bench.executable.dispose();
  table.dispose();
  heap.free(bench.arena);
  heap.free(bench.shared);
}

function weightsOf(table: Table, keys: readonly bigint[], field: string): number[] {
  const { dim } = table.field(field);
  const [ids, rows, out] = [8, 4, 4 * dim].map((bytes) => heap.alloc(bytes * keys.length)) as [number, number, number];
  heap.u64(ids, keys.length).set(keys);
  table.lookup(ids, keys.length, rows, false);
  table.gather(field, rows, keys.length, out);
  const data = [...heap.f32(out, keys.length * dim)];
  for (const block of [ids, rows, out]) heap.free(block);
  return data;
}

const training = (model: ModelFunction<keyof typeof inputs>): Program =>
  placeUpdates(differentiate(trace(model, { inputs }), { loss: "loss" }), {
    parameter: (_, { trainable }) => (trainable ? adagrad : undefined),
    field: (table, field) => rules[table as "features"][field as "v"],
  });

/** Named ways to go from [batch, n] to [batch, m]. */
const layers: Readonly<Record<string, (h: Tensor, ctx: TraceContext, x: Inputs) => Tensor>> = {
  linear: (h, ctx) =>
    h
      .matmul(ctx.parameter("w", [h.shape[1]!, 7], { kind: "zeros" }))
      .mul(1 / h.shape[1]!)
      .add(ctx.parameter("b", [7], { kind: "zeros" })),
  relu: (h, ctx) =>
    h
      .matmul(ctx.parameter("w", [h.shape[1]!, 6], { kind: "zeros" }))
      .add(ctx.parameter("b", [6], { kind: "zeros" }))
      .relu(),
  tanh: (h) => h.tanh(),
  sigmoid: (h) => h.sigmoid(),
  softmax: (h) => h.softmax(),
  layerNorm: (h, ctx) => {
    const shape = [h.shape[1]!];
    return layerNorm(
      h,
      ctx.parameter("gamma", shape, { kind: "ones" }),
      ctx.parameter("beta", shape, { kind: "zeros" }),
      { epsilon: 0.1 },
    );
  },
  batchNorm: (h, ctx, x) => {
    const shape = [h.shape[1]!];
    return batchNorm(h, {
      gamma: ctx.parameter("gamma", shape, { kind: "ones" }),
      beta: ctx.parameter("beta", shape, { kind: "zeros" }),
      runningMean: ctx.parameter("mean", shape, { kind: "zeros" }, { trainable: false }),
      runningVariance: ctx.parameter("variance", shape, { kind: "ones" }, { trainable: false }),
      weight: x.weight,
      epsilon: 0.1,
    });
  },
  dropout: (h) => dropout(h, { rate: 0.3 }),
  concat: (h, _, x) => concat([h, x.dense, h.square()]),
  slice: (h) => h.slice(1, 0, Math.ceil(h.shape[1]! / 2)).add(h.slice(1, Math.floor(h.shape[1]! / 2), h.shape[1]!)),
  pad: (h) => h.pad(1, 1, 2),
  center: (h) => h.sub(h.mean({ axes: 1, keepDims: true })),
  rowMax: (h) => h.sub(h.max({ axes: -1, keepDims: true })).exp(),
  transpose: (h) => h.transpose().mul(1.5).transpose(),
  cross: (h, ctx) => h.mul(h.matmul(ctx.parameter("w", [h.shape[1]!, 1], { kind: "zeros" }))).add(h),
  fm: (h) => {
    // One field has no pairs: rounding errors alone would then decide what is the largest of a row.
    const fields = concat([h, h.mul(0.5)]).reshape([batch, 2, h.shape[1]!]);
    return h.mul(fm(fields.add(h.mean({ keepDims: true }).reshape([1, 1, 1])))).tanh();
  },
  embedding: (h, ctx, x) => concat([h, ctx.table(spec).lookup(x.ids).gather("v").flatten()]),
  pool: (h, ctx, x) => concat([ctx.table(spec).lookup(x.ids).gatherPool("v", "mean"), h]),
};

describe("planned programs", () => {
  test("random stacks of layers train as in float64", () => {
    const stack = fc.array(fc.constantFrom(...Object.keys(layers)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(stack, fc.boolean(), fc.nat(1e6), (names, binary, seed) => {
        const program = training((x, ctx) => {
          let h: Tensor = x.dense;
          for (const [i, name] of names.entries()) h = ctx.scope(`${i}-${name}`, () => layers[name]!(h, ctx, x));
          const heads = binary ? 1 : 3;
          const logits = h.matmul(ctx.parameter("head", [h.shape[1]!, heads], { kind: "zeros" })).mul(1 / h.shape[1]!);
          const losses = binary
            ? sigmoidCrossEntropy(logits.reshape([-1]), x.label)
            : softmaxCrossEntropy(logits, x.class).loss;
          return { loss: weightedMean(losses, x.weight), logits };
        });
        compare(program, seed, 3);
      }),
      { numRuns: 60 },
    );
  });

  test("a click model with wide and deep parts trains as in float64", () => {
    const program = training((x, ctx) => {
      const rows = ctx.table(spec).lookup(x.ids);
      const v = rows.gather("v");
      let h = concat([v.flatten(), x.dense]);
      for (const i of [0, 1, 2]) h = ctx.scope(`mlp/${i}`, () => layers.relu!(h.mul(0.2), ctx, x));
      const deep = h.matmul(ctx.parameter("out", [6, 1], { kind: "zeros" }));
      const logits = deep.add(rows.gatherPool("w", "sum")).add(fm(v)).reshape([-1]);
      return { loss: weightedMean(sigmoidCrossEntropy(logits, x.label), x.weight), logits };
    });
    for (const provider of [plainProvider(heap), wasmProvider(heap)]) compare(program, 11, 12, provider);
  });

  test("an inference plan reads the parameters that a training plan writes", () => {
    const model: ModelFunction<keyof typeof inputs> = (x, ctx) => {
      const h = layers.batchNorm!(layers.linear!(x.dense, ctx, x), ctx, x);
      const logits = dropout(h, { rate: 0.5 })
        .matmul(ctx.parameter("head", [7, 1], { kind: "zeros" }))
        .reshape([-1]);
      return { loss: weightedMean(sigmoidCrossEntropy(logits, x.label), x.weight), logits };
    };
    const provider = wasmProvider(heap);
    const scratch = (op: OpSignature): number => scratchBytes(op, provider);
    const trained = plan(lower(training(model)), { scratch });
    const inference = trace(model, { inputs, training: false });
    const planned = plan(lower(inference), { scratch, shared: trained });
    const trainer = new Bench(trained, { heap, provider });
    const reader = new Bench(planned, { heap, provider, shared: trainer.shared });
    const random = randomFrom(2);
    const { inputs: feed, parameters } = randomFeed(training(model), random, { low: 0.1, high: 0.9 });
    for (const [name, operand] of Object.entries(trained.parameters)) trainer.write(operand, [...parameters[name]!]);
    for (const [name, operand] of Object.entries(trained.inputs))
      trainer.write(operand, Array.from(feed[name]!, Number));
    for (let step = 0; step < 3; step++) trainer.executable.run();
    for (const [name, operand] of Object.entries(planned.inputs))
      reader.write(operand, Array.from(feed[name]!, Number));
    reader.executable.run();
    const now = Object.fromEntries(
      Object.entries(trained.parameters).map(([name, operand]) => [name, Float64Array.from(trainer.read(operand))]),
    );
    const dense = reader.read(planned.inputs.dense!);
    const expected = interpret(inference, { ...feed, dense }, { parameters: now });
    expect(
      relativeError(reader.read(planned.outputs.logits!), Array.from(expected.outputs.logits!, Number)),
    ).toBeLessThan(1e-5);
  });
});
