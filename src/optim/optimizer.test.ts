// Each optimizer over a hundred steps against the plain twin of testing.ts: its rule as the reference evaluates it, as a
// compiled kernel over a dense parameter, and as the kernel that updates sparse rows.
import { describe, expect, test } from "vitest";
import { scratchBytes } from "../engine/scratch.ts";
import { Bench, plainProvider, relativeError, testHeap } from "../engine/testing.ts";
import { roundTo } from "../kernels/half.ts";
import { evaluateRule, type RuleState } from "../kernels/index.ts";
import { optimize } from "../passes/index.ts";
import { differentiate, type Program, ProgramBuilder, placeUpdates, plan, trace } from "../program/index.ts";
import { updateParameters } from "../program/place-updates.ts";
import { randomFrom } from "../program/testing.ts";
import { Table } from "../table/index.ts";
import { adagrad, adam, adamw, ftrl, lars, sgd } from "./index.ts";
import { type Optimizer, parseOptimizer, servesTables } from "./optimizer.ts";
import { scalarAt, updateRule } from "./rule.ts";
import { learningRateAt } from "./schedule.ts";
import { optimizers, PlainOptimizer } from "./testing.ts";

const heap = testHeap();
const STEPS = 100;
const named = Object.entries(optimizers);

/** A gradient that pulls each weight to a target of its own, with noise; some are exactly 0. */
function gradientAt(weight: ArrayLike<number>, random: () => number): Float32Array {
  return Float32Array.from(weight, (w, i) => (random() < 0.1 ? 0 : w - Math.sin(i) + random() - 0.5));
}

describe.each(named)("%s", (_, optimizer) => {
  const rule = updateRule(optimizer, "default");
  const scalars = (step: number): number[] => rule.scalars.map((name) => scalarAt(optimizer, name, step));

  test("its rule is the published one", () => {
    const random = randomFrom(1);
    const start = Array.from({ length: 5 }, () => random() - 0.5);
    const twin = new PlainOptimizer(optimizer, start);
    let state: RuleState = {
      weight: start,
      slots: rule.slots.map(({ initial, perRow }) => Array(perRow ? 1 : start.length).fill(initial)),
    };
    for (let step = 0; step < STEPS; step++) {
      const gradient = gradientAt(twin.weight, random);
      twin.step(gradient, learningRateAt(optimizer.lr, step), step);
      state = evaluateRule(rule, state, [...gradient], scalars(step));
      expect(relativeError(state.weight, [...twin.weight]), `step ${step}`).toBeLessThan(1e-9);
    }
  });

  test.each([[[1]], [[7]], [[3, 21]], [[2, 3, 4]]])("moves a dense parameter of shape %j", (shape) => {
    const random = randomFrom(2);
    const size = shape.reduce((a, b) => a * b, 1);
    const program = training(
      optimizer,
      (inputs, ctx) => ctx.parameter("w", shape, { kind: "zeros" }).mul(inputs.gradient!).sum(),
      { gradient: { shape, dtype: "f32" } },
    );
    const bench = benchOf(program);
    const { parameters, inputs } = bench.plan;
    const start = Array.from({ length: size }, () => Math.fround(random() - 0.5));
    bench.write(parameters.w!, start);
    for (const { name, initial, perRow } of rule.slots) {
      bench.write(parameters[`w/${name}`]!, new Array(perRow ? 1 : size).fill(initial));
    }
    const twin = new PlainOptimizer(optimizer, start);
    for (let step = 0; step < STEPS; step++) {
      const gradient = gradientAt(twin.weight, random);
      twin.step(gradient, learningRateAt(optimizer.lr, step), step);
      bench.write(inputs.gradient!, [...gradient]);
      for (const name of rule.scalars) bench.write(inputs[`scalar:${name}`]!, [scalarAt(optimizer, name, step)]);
      bench.executable.run();
      expect(relativeError(bench.read(parameters.w!), [...twin.weight]), `step ${step}`).toBeLessThan(1e-4);
    }
    bench.free();
  });

  if (!servesTables(optimizer)) return;

  test.each([1, 4, 16, 19])("moves the rows of a sparse field of dim %i that a batch touches, and no others", (dim) => {
    const random = randomFrom(3);
    const [rows, length] = [12, 9];
    const spec = {
      name: "ids",
      seed: 4,
      fields: [{ name: "v", dim, slots: rule.slots, init: { kind: "uniform", scale: 0.5 } as const }],
    };
    const program = training(
      optimizer,
      (inputs, ctx) => ctx.table(spec).lookup(inputs.ids!).gather("v").mul(inputs.gradient!).sum(),
      { ids: { shape: [length], dtype: "u64" }, gradient: { shape: [length, dim], dtype: "f32" } },
    );
    const table = Table.create(heap, spec);
    const bench = benchOf(program, { ids: table }, { ids: { v: rule } });
    const { inputs } = bench.plan;
    const read = (): Map<number, number[]> => {
      const columns = [...table.snapshot().chunks()];
      return new Map(
        columns.flatMap(({ keys, columns: [weights] }) =>
          Array.from(keys, (key, i) => [Number(key), [...weights!.subarray(i * dim, (i + 1) * dim)]] as const),
        ),
      );
    };
    const twins = new Map<number, PlainOptimizer>();
    insertAll(table, rows);
    for (const [key, weights] of read()) twins.set(key, new PlainOptimizer(optimizer, weights));
    for (let step = 0; step < STEPS; step++) {
      // Keys repeat within the batch; 0 is no feature.
      const keys = Array.from({ length }, () => Math.floor(random() * (rows + 1)));
      const sums = new Map<number, Float64Array>();
      const gradient = keys.flatMap((key) => {
        const own = key === 0 ? new Float32Array(dim).fill(1) : gradientAt(twins.get(key)!.weight, random);
        const sum = sums.get(key) ?? new Float64Array(dim);
        sums.set(
          key,
          sum.map((value, i) => value + own[i]!),
        );
        return [...own];
      });
      for (const [key, sum] of sums) twins.get(key)?.step(sum, learningRateAt(optimizer.lr, step), step);
      bench.write(inputs.ids!, keys);
      bench.write(inputs.gradient!, gradient);
      for (const name of rule.scalars) bench.write(inputs[`scalar:${name}`]!, [scalarAt(optimizer, name, step)]);
      bench.executable.run();
      const now = read();
      expect(now.size).toBe(rows);
      for (const [key, { weight }] of twins) {
        expect(relativeError(now.get(key)!, [...weight]), `row ${key} after step ${step}`).toBeLessThan(1e-4);
      }
    }
    bench.free();
    table.dispose();
  });
});

describe.each(["bf16", "f16"] as const)("%s gradients", (dtype) => {
  test.each([
    ["adamw", adamw({ lr: 0.02, weightDecay: 0.1 })],
    ["lars", lars({ lr: 2, trust: 0.05 })],
  ])("move f32 weights under %s, clipped by their norm", (_, optimizer) => {
    const random = randomFrom(5);
    const shape = [3, 7];
    const rule = updateRule(optimizer, "default");
    const builder = new ProgramBuilder();
    const weight = builder.parameter("w", shape, { kind: "zeros" });
    const gradient = builder.input("gradient", { shape, dtype });
    updateParameters(builder, [{ name: "w", weight, gradient, rule }], { clip: { globalNorm: 2 } });
    const bench = benchOf(optimize(builder.build()));
    const { parameters, inputs } = bench.plan;
    const start = Array.from({ length: 21 }, () => Math.fround(random() - 0.5));
    bench.write(parameters.w!, start);
    for (const { name } of rule.slots) bench.write(parameters[`w/${name}`]!, new Array(21).fill(0));
    const twin = new PlainOptimizer(optimizer, start);
    for (let step = 0; step < STEPS; step++) {
      const exact = gradientAt(twin.weight, random).map((g) => roundTo(dtype, g));
      const factor = Math.min(1, 2 / (Math.hypot(...exact) + 1e-6));
      twin.step(
        Float64Array.from(exact, (g) => g * factor),
        learningRateAt(optimizer.lr, step),
        step,
      );
      bench.write(inputs.gradient!, [...exact]);
      for (const name of rule.scalars) bench.write(inputs[`scalar:${name}`]!, [scalarAt(optimizer, name, step)]);
      bench.executable.run();
      expect(relativeError(bench.read(parameters.w!), [...twin.weight]), `step ${step}`).toBeLessThan(1e-4);
    }
    bench.free();
  });
});

type Model = Parameters<typeof trace>[0];

/** A step whose loss has the input `gradient` as its gradient. */
function training(optimizer: Optimizer, model: Model, inputs: Parameters<typeof trace>[1]["inputs"]): Program {
  const loss: Model = (x, ctx) => ({ loss: model(x, ctx) as never });
  const rule = updateRule(optimizer, "default");
  return placeUpdates(differentiate(trace(loss, { inputs }), { loss: "loss" }), {
    parameter: () => rule,
    field: () => rule,
  });
}

type BenchOptions = ConstructorParameters<typeof Bench>[1];

function benchOf(
  program: Program,
  tables: Readonly<Record<string, Table>> = {},
  rules: NonNullable<BenchOptions["rules"]> = {},
): Bench & { readonly plan: ReturnType<typeof plan>; free(): void } {
  const provider = plainProvider(heap);
  const planned = plan(program, { scratch: (op) => scratchBytes(op, provider) });
  const layouts = Object.fromEntries(Object.entries(tables).map(([name, { layout }]) => [name, layout]));
  const bench = new Bench(planned, { heap, provider, tables, layouts, rules });
  const free = (): void => {
    bench.executable.dispose();
    heap.free(bench.arena);
    heap.free(bench.shared);
  };
  return Object.assign(bench, { plan: planned, free });
}

function insertAll(table: Table, rows: number): void {
  const [keys, out] = [heap.alloc(8 * rows), heap.alloc(4 * rows)];
  heap.u64(keys, rows).set(Array.from({ length: rows }, (_, i) => BigInt(i + 1)));
  table.lookup(keys, rows, out, true);
  heap.free(keys);
  heap.free(out);
}

describe("ftrl", () => {
  test("drives weights without a use to exactly 0", () => {
    const optimizer = ftrl({ lr: 0.3, l1: 5 });
    const twin = new PlainOptimizer(optimizer, [0, 0]);
    const rule = updateRule(optimizer, "default");
    let state: RuleState = {
      weight: [0, 0],
      slots: [
        [0, 0],
        [0, 0],
      ],
    };
    for (let step = 0; step < 50; step++) {
      const gradient = [Math.sin(step), -1];
      twin.step(gradient, 0.3, step);
      state = evaluateRule(rule, state, gradient, [0.3]);
    }
    expect(state.weight[0]).toBe(0);
    expect(state.weight[1]).toBeGreaterThan(1);
    expect(state.weight[1]).toBeCloseTo(twin.weight[1]!, 10);
  });

  test("has a constant rate: one that decays would shrink weights that are learnt to 0", () => {
    expect(() => ftrl({ lr: { kind: "cosine", lr: 0.1, total: 10 } as never })).toThrow(/optim\.ftrl.*lr/s);
  });

  test("needs beta or l2 above 0, without which a weight that has no gradient yet would be 0/0", () => {
    expect(() => ftrl({ beta: 0 })).toThrow(/beta/);
    expect(ftrl({ beta: 0, l2: 0.1 })).toMatchObject({ beta: 0, l2: 0.1 });
  });
});

describe("options", () => {
  test("have defaults and survive JSON", () => {
    for (const optimizer of Object.values(optimizers)) {
      expect(parseOptimizer(JSON.parse(JSON.stringify(optimizer)))).toEqual(optimizer);
    }
    expect(adam()).toEqual({ name: "adam", lr: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 });
  });

  test.each([
    [() => sgd({ lr: 0 }), /optim\.sgd.*lr/s],
    [() => sgd({ lr: Number.NaN }), /optim\.sgd.*lr/s],
    [() => sgd({ momentum: 0.9 } as never), /optim\.sgd.*momentum.*allowed: lr, weightDecay/s],
    [() => adam({ beta1: 1 }), /optim\.adam.*beta1/s],
    [() => adam({ epsilon: 0 }), /optim\.adam.*epsilon/s],
    [() => adagrad({ initialAccumulator: -1 }), /optim\.adagrad.*initialAccumulator/s],
    [() => adagrad({ lr: { kind: "linear" } as never }), /optim\.adagrad.*lr/s],
    [() => parseOptimizer({ name: "lion" }), /optimizer "lion" is unknown; choose one of sgd, momentum/],
    [() => parseOptimizer({ name: "constructor" }), /optimizer "constructor" is unknown/],
    [() => parseOptimizer(null), /optimizer undefined is unknown/],
    [() => scalarAt(sgd(), "default.stepSize", 0), /sgd has no scalar "default.stepSize"/],
  ])("a wrong one is refused by name (%#)", (make, message) => {
    expect(make).toThrow(message);
  });
});
