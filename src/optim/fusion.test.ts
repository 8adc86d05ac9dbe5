// What the passes make of updates with everything on: one kernel a parameter, which reads and writes each number once.
import { describe, expect, test } from "vitest";
import { optimize } from "../passes/index.ts";
import { deferUpdates, differentiate, type Program, placeUpdates, trace, type UpdateRules } from "../program/index.ts";
import { adam, lamb, type Optimizer, updateRule } from "./index.ts";

const differentiated = differentiate(
  trace(
    (x, ctx) => {
      const hidden = ctx.scope("hidden", () =>
        x
          .x!.matmul(ctx.parameter("weight", [3, 4], { kind: "ones" }))
          .add(ctx.parameter("bias", [4], { kind: "zeros" }))
          .tanh(),
      );
      const y = hidden.matmul(ctx.parameter("out", [4, 2], { kind: "ones" }));
      return { loss: y.mul(y).sum() };
    },
    { inputs: { x: { shape: [5, 3], dtype: "f32" } } },
  ),
  { loss: "loss" },
);
const names = ["hidden/weight", "hidden/bias", "out"];

const rulesOf = (optimizer: Optimizer): UpdateRules => ({
  parameter: () => updateRule(optimizer, "default"),
  field: () => updateRule(optimizer, "default"),
  clip: { globalNorm: 1 },
  average: 0.9,
});

/** The update that writes a parameter, and how many ops read or write something as large as it besides. */
function passesOver(program: Program, name: string): { targets: string[]; others: string[] } {
  const named = new Map(Object.entries(program.parameters).map(([key, { value }]) => [value, key]));
  const own = Object.keys(program.parameters).filter((key) => key === name || key.startsWith(`${name}/`));
  const ids = new Set(own.map((key) => program.parameters[key]!.value));
  const touching = program.ops.filter((op) => op.scope === "update" && op.inputs.some((id) => ids.has(id)));
  const updates = touching.filter(({ kind }) => kind === "update");
  expect(updates).toHaveLength(1);
  const [update] = updates;
  const targets = update!.kind === "update" ? update!.attrs.targets.map((i) => named.get(update!.inputs[i]!)!) : [];
  return { targets, others: touching.filter((op) => op !== update).map(({ kind }) => kind) };
}

describe("Adam with decay, a clipped global norm and a moving average", () => {
  const rules = rulesOf(adam({ weightDecay: 0.1 }));
  const written = (name: string): string[] => [name, `${name}/moment1`, `${name}/moment2`, `${name}/average`];

  test.each(names)("is one pass over %s inside the step", (name) => {
    const program = optimize(placeUpdates(differentiated, rules));
    expect(passesOver(program, name)).toEqual({ targets: written(name), others: [] });
    // The norm is one reduction a gradient; no clipped gradient goes through memory.
    const clipping = program.ops.filter(({ scope, kind }) => scope === "update" && kind !== "update");
    expect(clipping.filter(({ kind }) => kind === "reduce")).toHaveLength(names.length);
    expect(clipping.flatMap(({ outputs }) => outputs.map((id) => program.values[id]!.shape))).toEqual(
      clipping.map(() => []),
    );
  });

  test.each(names)("is one pass over %s where the gradients of two threads are summed", (name) => {
    const { apply, squares } = deferUpdates(differentiated, rules);
    const share = { parameters: names, tables: [], replicas: 2, shares: 2 };
    const program = optimize(apply(share));
    expect(passesOver(program, name)).toEqual({ targets: written(name), others: [] });
    const { ops, values } = optimize(squares!(share));
    expect(ops.filter(({ kind }) => kind === "reduce")).toHaveLength(names.length);
    expect(ops.flatMap(({ outputs }) => outputs.map((id) => values[id]!.shape))).toEqual(ops.map(() => []));
  });

  test.each(names)("is one pass over %s where gradients were gathered, which empties the accumulator", (name) => {
    const { step, apply } = deferUpdates(differentiated, rules, { mergeReplicas: 1 });
    const program = optimize(apply({ parameters: names, tables: [], replicas: 1 }));
    expect(passesOver(program, name)).toEqual({ targets: [...written(name), `${name}/merged#0`], others: ["reduce"] });
    const gathering = optimize(step).ops.filter(({ kind }) => kind === "update");
    expect(gathering).toHaveLength(names.length);
  });
});

test("LAMB is one reduction for both norms, and one update", () => {
  const program = optimize(placeUpdates(differentiated, { ...rulesOf(lamb()), clip: undefined }));
  for (const name of names) expect(passesOver(program, name).others).toEqual(["reduce"]);
});
