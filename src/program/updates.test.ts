// Clipping, moving averages and gathered gradients, against their definitions, in the float64 interpreter.
import { describe, expect, test } from "vitest";
import * as e from "../kernels/expr.ts";
import type { UpdateRule } from "../kernels/update-rule.ts";
import type { Clip } from "./clip.ts";
import { accumulatorName, deferUpdates, MERGE_SCALE, replicaInput } from "./defer-updates.ts";
import { differentiate } from "./differentiate.ts";
import { averageName, FINITE, placeUpdates, UNSCALE, type UpdateRules } from "./place-updates.ts";
import { interpret } from "./reference.ts";
import { randomArray, randomFrom } from "./testing.ts";
import { trace } from "./trace.ts";
import { verify } from "./verify.ts";

/** u = u/2 + g; w −= u/10. */
const velocity = e.add(e.mul(e.input(2), 0.5), e.input(1));
const momentum: UpdateRule = {
  slots: [{ name: "velocity", initial: 0 }],
  scalars: [],
  weight: e.sub(e.input(0), e.mul(velocity, 0.1)),
  state: [velocity],
};

const shapes = { a: [2, 3], b: [4], scale: [] } as const;
const names = Object.keys(shapes);
type Vectors = Record<string, Float64Array>;

/** A step whose gradients are its inputs. */
const differentiated = differentiate(
  trace(
    (inputs, ctx) => {
      const terms = Object.entries(shapes).map(([name, shape]) =>
        ctx.parameter(name, shape, { kind: "ones" }).mul(inputs[name]!).sum(),
      );
      return { loss: terms.reduce((a, b) => a.add(b)) };
    },
    { inputs: Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, { shape, dtype: "f32" }])) },
  ),
  { loss: "loss" },
);
const rulesOf = (rest: Pick<UpdateRules, "clip" | "average">): UpdateRules => ({
  parameter: () => momentum,
  field: () => momentum,
  ...rest,
});
const filled = (value: number): Vectors =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, full(shape, value)]));
const full = (shape: readonly number[], value: number): Float64Array =>
  new Float64Array(shape.reduce((a, b) => a * b, 1)).fill(value);
const startOf = (program: ReturnType<typeof placeUpdates>): Vectors =>
  Object.fromEntries(
    Object.entries(program.parameters).map(([name, { value, init }]) => [
      name,
      full(program.values[value]!.shape, init.kind === "ones" || init.kind === "copy" ? 1 : 0),
    ]),
  );
const gradients = (seed: number, scale: number): Vectors => {
  const random = randomFrom(seed);
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [
      name,
      randomArray(random, full(shape, 0).length).map((x) => x * scale),
    ]),
  );
};
const norm = (...vectors: Float64Array[]): number => Math.hypot(...vectors.flatMap((vector) => [...vector]));

/** What the clips do, from their definitions. */
function clipped(all: Vectors, clip: Clip): Vectors {
  const total = norm(...Object.values(all));
  return Object.fromEntries(
    Object.entries(all).map(([name, g]) => {
      if ("value" in clip) return [name, g.map((x) => Math.min(clip.value, Math.max(-clip.value, x)))];
      const [limit, length] = "norm" in clip ? [clip.norm, norm(g)] : [clip.globalNorm, total];
      return [name, g.map((x) => x * Math.min(1, limit / (length + 1e-6)))];
    }),
  );
}

function expectClose(actual: Vectors, expected: Vectors): void {
  for (const name of names) {
    for (const [i, x] of expected[name]!.entries()) expect(actual[name]![i], `${name}[${i}]`).toBeCloseTo(x, 12);
  }
}

/** Weights after gradients are applied by the rule above. */
function moved(steps: readonly Vectors[]): Vectors {
  const [weights, state] = [filled(1), filled(0)];
  for (const step of steps) {
    for (const name of names) {
      state[name] = state[name]!.map((u, i) => u / 2 + step[name]![i]!);
      weights[name] = weights[name]!.map((w, i) => w - state[name]![i]! / 10);
    }
  }
  return weights;
}

const steps = [gradients(1, 3), gradients(2, 0.05), gradients(3, 1), filled(0)];
const clips: Clip[] = [{ value: 0.4 }, { norm: 0.8 }, { globalNorm: 1.5 }];

describe.each(clips)("gradients clipped by %j", (clip) => {
  const expected = moved(steps.map((step) => clipped(step, clip)));

  test("inside the step", () => {
    const program = placeUpdates(differentiated, rulesOf({ clip }));
    verify(program);
    const parameters = startOf(program);
    for (const step of steps) interpret(program, step, { parameters });
    expectClose(parameters, expected);
  });

  test("where shares of two replicas are applied, the sum of the replicas is clipped", () => {
    const { step, apply, squares } = deferUpdates(differentiated, rulesOf({ clip }));
    const shares = [["a"], ["b", "scale"], []].map((own) => ({ parameters: own, tables: [], replicas: 2, shares: 3 }));
    const programs = shares.map(apply);
    const parameters = Object.assign({}, ...[step, ...programs].map(startOf)) as Vectors;
    for (const whole of steps) {
      // Two replicas whose gradients add up to the step's.
      const parts = [-0.5, 1.5].map((part) =>
        Object.fromEntries(names.map((name) => [name, whole[name]!.map((x) => x * part)])),
      );
      const feed = Object.fromEntries(
        parts.flatMap((part, r) =>
          Object.entries(interpret(step, part, { parameters }).outputs).map(([output, data]) => [
            replicaInput(output, r),
            data,
          ]),
        ),
      );
      for (const [s, share] of shares.entries()) {
        if (squares === undefined) break;
        const program = squares(share);
        verify(program);
        feed[replicaInput("squares", s)] = interpret(program, feed, { parameters }).outputs.squares!;
      }
      for (const program of programs) {
        verify(program);
        interpret(program, feed, { parameters });
      }
    }
    expectClose(parameters, expected);
  });

  test("gathered over steps, their mean is clipped, and the accumulators are empty again", () => {
    const { step, apply } = deferUpdates(differentiated, rulesOf({ clip }), { mergeReplicas: 2 });
    verify(step);
    const program = apply({ parameters: names, tables: [], replicas: 2 });
    verify(program);
    const parameters = { ...startOf(step), ...startOf(program) };
    // Replica 1 is a step of another thread, whose accumulators are those of the same names ending in #1.
    const other = { ...parameters };
    for (const name of names) other[accumulatorName(name, 0)] = parameters[accumulatorName(name, 1)]!;
    for (const whole of steps) {
      for (const part of [0.5, 1, 2.5]) {
        const own = Object.fromEntries(names.map((name) => [name, whole[name]!.map((x) => x * part)]));
        interpret(step, own, { parameters: part === 1 ? other : parameters });
      }
      interpret(program, { [`scalar:${MERGE_SCALE}`]: [1 / 4] }, { parameters });
      for (const name of names) {
        for (const replica of [0, 1]) expect(norm(parameters[accumulatorName(name, replica)]!)).toBe(0);
      }
    }
    expectClose(parameters, expected);
  });
});

test("gradients of a scaled loss are gathered without the scale, and nothing moves where one of them is not finite", () => {
  const rules = { ...rulesOf({ average: 0.5 }), scaled: true };
  const { step, apply } = deferUpdates(differentiated, rules, { mergeReplicas: 1 });
  const program = apply({ parameters: names, tables: [], replicas: 1 });
  verify(step);
  verify(program);
  const parameters = { ...startOf(step), ...startOf(program) };
  const gather = (part: Vectors, scale: number): void => {
    const scaled = Object.fromEntries(names.map((name) => [name, part[name]!.map((x) => x * scale)]));
    interpret(step, { ...scaled, [UNSCALE]: [1 / scale] }, { parameters });
  };
  const finite = (): number =>
    interpret(program, { [`scalar:${MERGE_SCALE}`]: [0.5] }, { parameters }).outputs[FINITE]![0] as number;
  const [first, second] = [gradients(1, 1), gradients(2, 1)];
  gather(first, 1024);
  gather({ ...first, b: first.b!.with(2, Number.POSITIVE_INFINITY) }, 1024);
  expect(finite()).toBe(0);
  expectClose(parameters, filled(1));
  gather(first, 8);
  gather(second, 2);
  expect(finite()).toBe(1);
  expectClose(
    parameters,
    moved([Object.fromEntries(names.map((name) => [name, first[name]!.map((x, i) => (x + second[name]![i]!) / 2)]))]),
  );
});

test("a moving average starts as its parameter and follows it", () => {
  const program = placeUpdates(differentiated, rulesOf({ average: 0.7 }));
  verify(program);
  expect(program.parameters[averageName("a")]).toMatchObject({ init: { kind: "copy", of: "a" }, trainable: false });
  const parameters = startOf(program);
  let expected = filled(1);
  for (const [i, step] of steps.entries()) {
    interpret(program, step, { parameters });
    const weights = moved(steps.slice(0, i + 1));
    expected = Object.fromEntries(
      names.map((name) => [name, expected[name]!.map((a, k) => 0.7 * a + 0.3 * weights[name]![k]!)]),
    );
    expectClose(Object.fromEntries(names.map((name) => [name, parameters[averageName(name)]!])), expected);
  }
});

test("gradients of tables cannot be gathered", () => {
  const sparse = trace(
    (x, ctx) => {
      const spec = {
        name: "ids",
        seed: 1,
        fields: [{ name: "v", dim: 2, slots: [], init: { kind: "zeros", scale: 0 } }],
      };
      return {
        loss: ctx
          .table(spec as never)
          .lookup(x.ids!)
          .gather("v")
          .sum(),
      };
    },
    { inputs: { ids: { shape: [3], dtype: "u64" } } },
  );
  const apart = differentiate(sparse, { loss: "loss" });
  expect(() => deferUpdates(apart, rulesOf({}), { mergeReplicas: 1 })).toThrow(/table ids cannot be gathered/);
});
