// The optimizers that PyTorch has too, against PyTorch: a hundred steps with the same gradients in float64.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { findPython } from "../../bench/lib/python.ts";
import { relativeError } from "../engine/testing.ts";
import { evaluateRule, type RuleState } from "../kernels/index.ts";
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

test("optimizers move weights as PyTorch's of the same options", ({ skip }) => {
  if ("missing" in python) return skip(python.missing);
  const random = randomFrom(1);
  const start = Array.from({ length: 6 }, () => random() - 0.5);
  const gradients = Array.from({ length: 100 }, () => start.map(() => random() - 0.4));
  const cases = pairs.map(([, optimizer, options]) => ({ optimizer, options, start, gradients }));
  const child = spawnSync(python.path, [script], { input: JSON.stringify(cases), encoding: "utf8" });
  expect(child.status, child.stderr).toBe(0);
  const expected = JSON.parse(child.stdout) as number[][][];
  for (const [i, [optimizer, torch, options]] of pairs.entries()) {
    const rule = updateRule(optimizer, "default");
    let state: RuleState = { weight: start, slots: rule.slots.map(({ initial }) => start.map(() => initial)) };
    for (const [step, gradient] of gradients.entries()) {
      const scalars = rule.scalars.map((name) => scalarAt(optimizer, name, step));
      state = evaluateRule(rule, state, gradient, scalars);
      const error = relativeError(state.weight, expected[i]![step]!);
      expect(error, `${torch} ${JSON.stringify(options)}, step ${step}`).toBeLessThan(1e-10);
    }
  }
});
