// Random programs for tests of passes and of the planner: a few dozen ops over random operands, differentiated and with
// an optimizer placed, with tables, dropout, normalisation and values of several uses.
import * as e from "../kernels/expr.ts";
import type { UpdateRule } from "../kernels/update-rule.ts";
import { differentiate } from "../program/differentiate.ts";
import { concat, dropout, fm, layerNorm, sigmoidCrossEntropy, weightedMean, where } from "../program/functions.ts";
import type { Program, TableSpec } from "../program/ir.ts";
import { placeUpdates } from "../program/place-updates.ts";
import { interpret } from "../program/reference.ts";
import { ReferenceTable } from "../program/reference-table.ts";
import type { Tensor } from "../program/tensor.ts";
import { type Random, randomFeed, randomFrom, randomWeights } from "../program/testing.ts";
import { type TraceContext, trace } from "../program/trace.ts";

const [b, n] = [3, 4];

export const spec: TableSpec = {
  name: "table",
  seed: 1,
  fields: [{ name: "v", dim: n, slots: [], init: { kind: "zeros", scale: 0 } }],
};

/** w −= lr·(g + 0.1·w), and a running sum of g². */
const rule: UpdateRule = {
  slots: [{ name: "sum", initial: 1 }],
  scalars: ["lr"],
  weight: e.sub(e.input(0), e.mul(e.input(3), e.add(e.input(1), e.mul(e.input(0), 0.1)))),
  state: [e.add(e.input(2), e.mul(e.input(1), e.input(1)))],
};
export const tableRule: UpdateRule = {
  ...rule,
  slots: [],
  state: [],
  weight: e.sub(e.input(0), e.mul(e.input(2), e.input(1))),
};

const inputs = {
  x: { shape: [b, n], dtype: "f32" },
  row: { shape: [n], dtype: "f32" },
  column: { shape: [b, 1], dtype: "f32" },
  scalar: { shape: [], dtype: "f32" },
  ids: { shape: [b, 2], dtype: "u64" },
  label: { shape: [b], dtype: "f32" },
  weight: { shape: [b], dtype: "f32" },
} as const;

type Step = (pick: () => Tensor, ctx: TraceContext, number: number) => Tensor;

/** Each gives a tensor of shape [b, n] from such tensors, and stays near 1 in size. */
const steps: readonly Step[] = [
  (pick) => pick().mul(pick()).tanh(),
  (pick) => pick().add(pick()).mul(0.5),
  (pick) => pick().sub(pick()).sigmoid(),
  (pick) => pick().relu(),
  (pick) => pick().mul(0.3).exp(),
  (pick) => pick().abs().add(1).log(),
  (pick) => where(pick().greater(0.2), pick(), pick()),
  (pick) => pick().sub(pick().mean({ axes: 1, keepDims: true })),
  (pick) => pick().mul(pick().sum({ axes: 0 }).tanh()),
  (pick) =>
    pick()
      .add(pick().max({ axes: [0, 1] }))
      .mul(0.5),
  (pick) => pick().softmax(),
  (pick) => dropout(pick(), { rate: 0.5 }),
  (pick) => pick().transpose().mul(0.5).reshape([b, n]),
  (pick) => concat([pick().slice(1, 0, 1), pick().slice(1, 1, n)]),
  (pick) => pick().slice(0, 1, b).pad(0, 1, 0),
  (pick) => concat([pick(), pick()], 0).slice(0, 1, b + 1),
  (pick) =>
    fm(pick().reshape([b, 2, 2]))
      .tanh()
      .mul(pick()),
  (pick) => pick().mul(0).add(1),
  (pick) => pick().div(pick().square().add(1)).add(pick()),
  (pick, ctx, i) => {
    const w = ctx.parameter(`w${i}`, [n, n], { kind: "glorot-uniform" });
    const product = pick()
      .matmul(w)
      .add(ctx.parameter(`b${i}`, [n], { kind: "zeros" }));
    return [product.relu(), product.tanh(), product.sigmoid(), product][i % 4]!;
  },
  (pick, ctx, i) =>
    layerNorm(pick(), ctx.parameter(`gamma${i}`, [n], { kind: "ones" }), pick().sum({ axes: 0 })).tanh(),
];

/** A training step with loss "loss" and a few values along the way as outputs. */
export function randomProgram(seed: number, size = 14): Program {
  const random = randomFrom(seed);
  const forward = trace(
    (x, ctx) => {
      const rows = ctx.table(spec).lookup(x.ids);
      const pool: Tensor[] = [x.x, x.x.mul(x.row), x.x.add(x.column).mul(x.scalar), rows.gatherPool("v", "mean")];
      // Later values are likelier, so that chains grow.
      const pick = (): Tensor => pool[Math.floor(Math.sqrt(random()) * pool.length)]!;
      for (let i = 0; i < size; i++) pool.push(choose(steps, random)(pick, ctx, i));
      const gathered = rows
        .gather("v")
        .reshape([b, 2 * n])
        .slice(1, 0, n);
      const logits = pool.at(-1)!.add(gathered).add(pick()).sum({ axes: 1 });
      const loss = weightedMean(sigmoidCrossEntropy(logits, x.label), x.weight);
      return { loss, logits, ...(random() < 0.5 ? { pick: pick() } : {}) };
    },
    { inputs },
  );
  const differentiated = differentiate(forward, { loss: "loss" });
  return placeUpdates(differentiated, { parameter: () => rule, field: () => tableRule });
}

const choose = <T>(items: readonly T[], random: Random): T => items[Math.floor(random() * items.length)]!;

export interface Effects {
  readonly outputs: Readonly<Record<string, readonly number[]>>;
  readonly parameters: Readonly<Record<string, readonly number[]>>;
  readonly table: Readonly<Record<string, readonly number[]>>;
}

/** Everything that two steps of a program leave behind. */
export function effectsOf(program: Program, seed: number): Effects {
  const random = randomFrom(seed);
  const table = new ReferenceTable(spec, { initial: randomWeights, rules: { v: tableRule } });
  const { inputs, parameters } = randomFeed(program, random, { low: 0.1, high: 0.9, classes: 1000 });
  const state = { parameters, tables: { table } };
  interpret(program, inputs, state);
  const { outputs } = interpret(program, inputs, state);
  const lists = (arrays: Readonly<Record<string, Iterable<number | bigint>>>): Record<string, number[]> =>
    Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, Array.from(array, Number)]));
  const rows = Object.fromEntries(table.keys.map((key) => [`${key}`, table.weights(table.find(key, false), "v")]));
  return { outputs: lists(outputs), parameters: lists(parameters), table: lists(rows) };
}
