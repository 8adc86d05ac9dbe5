// Which optimizer gets which parameter.
import { expect, test } from "vitest";
import { evaluate } from "../kernels/evaluate.ts";
import { lamb, momentum, sgd } from "../optim/index.ts";
import { trace } from "../program/index.ts";
import { modelRules, optimizerGroups } from "./optimizer-groups.ts";

const program = trace(
  (x, ctx) => {
    const spec = { name: "ids", seed: 1, fields: ["linear", "embedding"].map((name) => field(name)) };
    const rows = ctx.table(spec).lookup(x.ids!);
    const weight = ctx.scope("layer/1", () => ctx.parameter("weight", [2, 2], { kind: "zeros" }));
    const bias = ctx.scope("layer/1", () => ctx.parameter("bias", [2], { kind: "zeros" }));
    const head = ctx.parameter("head", [2], { kind: "zeros" }, { group: "head" });
    ctx.parameter("mean", [2], { kind: "zeros" }, { trainable: false });
    return { output: rows.gather("linear").matmul(weight).add(bias).mul(head).add(rows.gather("embedding")).sum() };
  },
  { inputs: { ids: { shape: [3], dtype: "u64" } } },
);

function field(name: string) {
  return { name, dim: 2, slots: [], init: { kind: "zeros", scale: 0 } as const };
}

/** The group of each parameter and field, read from the name of its rule's rate. */
function groupsOf(groups: Parameters<typeof modelRules>[0]): Record<string, string> {
  const rules = modelRules(groups, program, undefined);
  const groupOf = ({ scalars }: { readonly scalars: readonly string[] }): string => scalars[0]!.replace(/\.lr$/, "");
  return {
    ...Object.fromEntries(
      ["layer/1/weight", "layer/1/bias", "head"].map((name) => [name, groupOf(rules.parameter(name))]),
    ),
    ...Object.fromEntries(["linear", "embedding"].map((name) => [name, groupOf(rules.field(name))])),
  };
}

test("groups take parameters by their group, by patterns of names, and fields of tables; default takes the rest", () => {
  const biases = "**/{bias,gamma,beta}";
  expect(groupsOf({ default: sgd(), head: sgd(), [biases]: momentum(), embedding: sgd() })).toEqual({
    "layer/1/weight": "default",
    "layer/1/bias": biases,
    head: "head",
    linear: "default",
    embedding: "embedding",
  });
});

test("of two groups that match, the first takes a parameter", () => {
  expect(groupsOf({ default: sgd(), "layer/**": sgd(), "**": momentum() })).toMatchObject({
    "layer/1/bias": "layer/**",
    head: "**",
    // A pattern is one of parameters.
    linear: "default",
  });
});

test.each([
  [
    { default: sgd(), "**/gamma": sgd() },
    /"\*\*\/gamma" takes nothing .* \(default, head\).*\(linear, embedding\).*layer\/1\/bias/,
  ],
  [{ default: sgd(), "**": sgd(), head: sgd() }, /"head" takes nothing that an earlier one leaves/],
  [{ default: sgd(), mean: sgd() }, /"mean" takes nothing/],
  [{ default: lamb() }, /optimizer lamb .* the table field "linear"; give "linear" a group of its own/],
  [{ default: lamb(), linear: sgd() }, /the table field "embedding"/],
])("a group without parameters, or one that cannot move them, is refused: %#", (groups, message) => {
  expect(() => modelRules(groups, program, undefined)).toThrow(message);
});

test("clipping by value is part of a table's rule", () => {
  const at = (gradient: number): number => {
    const { weight } = modelRules({ default: sgd({ lr: 1 }) }, program, { value: 0.5 }).field("linear");
    return evaluate(weight, (index) => [0, gradient, 1][index]!, { counter: 0 });
  };
  expect([0.2, 3, -3].map(at)).toEqual([-0.2, -0.5, 0.5]);
});

test("groups without a default, or with a wrong optimizer, are refused", () => {
  expect(() => optimizerGroups({ bias: sgd() } as never)).toThrow(/groups need one called `default`/);
  expect(() => optimizerGroups({ default: { name: "lion" } } as never)).toThrow(/optimizer "lion" is unknown/);
  expect(optimizerGroups(sgd())).toEqual({ default: sgd() });
});
