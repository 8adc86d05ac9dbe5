// The optimizers that PyTorch has too, against PyTorch: a hundred steps with the same gradients in float64.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { findPython } from "../../bench/lib/python.ts";
import { relativeError } from "../engine/testing.ts";
import { type Clip, differentiate, interpret, placeUpdates, trace } from "../program/index.ts";
import { randomFrom } from "../program/testing.ts";
import { adagrad, adam, adamw, momentum, type Optimizer, rmsprop, scalarAt, sgd, updateRule } from "./index.ts";

const python = findPython(["torch"]);
const script = fileURLToPath(new URL("../../test/python/optimizers.py", import.meta.url));

const pairs: readonly [ours: Optimizer, torch: string, options: Record<string, unknown>][] = [
  [sgd({ lr: 0.1 }), "SGD", { lr: 0.1 }],
  [sgd({ lr: 0.1, weightDecay: 0.05 }), "SGD", { lr: 0.1, weight_decay: 0.05 }],
  [momentum({ lr: 0.1, weightDecay: 0.05 }), "SGD", { lr: 0.1, momentum: 0.9, weight_decay: 0.05 }],
  [momentum({ lr: 0.1, momentum: 0.7, nesterov: true }), "SGD", { lr: 0.1, momentum: 0.7, nesterov: true }],
  [adagrad({ lr: 0.1 }), "Adagrad", { lr: 0.1 }],
  [
    adagrad({ lr: 0.1, initialAccumulator: 0.2, epsilon: 1e-4, weightDecay: 0.05 }),
    "Adagrad",
    { lr: 0.1, initial_accumulator_value: 0.2, eps: 1e-4, weight_decay: 0.05 },
  ],
  [adam({ lr: 0.01 }), "Adam", { lr: 0.01 }],
  [
    adam({ lr: 0.01, beta1: 0.8, beta2: 0.97, epsilon: 1e-3, weightDecay: 0.05 }),
    "Adam",
    { lr: 0.01, betas: [0.8, 0.97], eps: 1e-3, weight_decay: 0.05 },
  ],
  [adamw({ lr: 0.01 }), "AdamW", { lr: 0.01 }],
  [rmsprop({ lr: 0.01 }), "RMSprop", { lr: 0.01 }],
  [
    rmsprop({ lr: 0.01, alpha: 0.9, epsilon: 1e-3, momentum: 0.8, centered: true, weightDecay: 0.05 }),
    "RMSprop",
    { lr: 0.01, alpha: 0.9, eps: 1e-3, momentum: 0.8, centered: true, weight_decay: 0.05 },
  ],
  [rmsprop({ lr: 0.01, centered: true }), "RMSprop", { lr: 0.01, centered: true }],
  [adamw({ lr: 0.01, weightDecay: 0.3 }), "AdamW", { lr: 0.01, weight_decay: 0.3 }],
];

/** Clips whose limit some gradients are below. */
const clips: readonly Clip[] = [{ value: 0.5 }, { globalNorm: 1.2 }];

const random = randomFrom(1);
/** Two parameters, whose gradients are clipped together. */
const start = [4, 2].map((length) => Array.from({ length }, () => random() - 0.5));
const gradients = Array.from({ length: 100 }, () => start.map((weights) => weights.map(() => random() - 0.4)));

test("optimizers and clips move weights as PyTorch's of the same options", ({ skip }) => {
  if ("missing" in python) return skip(python.missing);
  const plain = pairs.map(([ours, optimizer, options]) => ({ ours, optimizer, options, clip: undefined }));
  const [ours, optimizer, options] = [momentum({ lr: 0.1 }), "SGD", { lr: 0.1, momentum: 0.9 }];
  const cases = [...plain, ...clips.map((clip) => ({ ours, optimizer, options, clip }))];
  const input = JSON.stringify(cases.map(({ ours: _, ...rest }) => ({ ...rest, start, gradients })));
  const child = spawnSync(python.path, [script], { input, encoding: "utf8" });
  expect(child.status, child.stderr).toBe(0);
  const expected = JSON.parse(child.stdout) as number[][][][];
  for (const [i, { ours, clip, ...rest }] of cases.entries()) {
    for (const [step, weights] of train(ours, clip).entries()) {
      const error = relativeError(weights.flat(), expected[i]![step]!.flat());
      expect(error, `${JSON.stringify({ ...rest, clip })}, step ${step}`).toBeLessThan(1e-10);
    }
  }
});

/** The weights after each step, of a program whose gradients are its inputs. */
function train(optimizer: Optimizer, clip: Clip | undefined): number[][][] {
  const shapes = start.map(({ length }, k) => [`g${k}`, { shape: [length], dtype: "f32" }] as const);
  const model: Parameters<typeof trace>[0] = (inputs, ctx) => {
    const terms = shapes.map(([name, { shape }], k) =>
      ctx.parameter(`w${k}`, shape, { kind: "zeros" }).mul(inputs[name]!).sum(),
    );
    return { loss: terms.reduce((a, b) => a.add(b)) };
  };
  const rule = updateRule(optimizer, "default");
  const rules = { parameter: () => rule, field: () => rule, clip };
  const traced = trace(model, { inputs: Object.fromEntries(shapes) });
  const program = placeUpdates(differentiate(traced, { loss: "loss" }), rules);
  const parameters = Object.fromEntries(
    Object.entries(program.parameters).map(([name, { value, init }]) => {
      const own = start[Number(/^w(\d)$/.exec(name)?.[1])];
      const [length] = program.values[value]!.shape;
      return [name, Float64Array.from(own ?? Array(length).fill(init.kind === "constant" ? init.value : 0))];
    }),
  );
  return gradients.map((step, at) => {
    const scalars = rule.scalars.map((name) => [`scalar:${name}`, [scalarAt(optimizer, name, at)]]);
    interpret(program, { ...Object.fromEntries(scalars), g0: step[0]!, g1: step[1]! }, { parameters });
    return start.map((_, k) => [...parameters[`w${k}`]!]);
  });
}
