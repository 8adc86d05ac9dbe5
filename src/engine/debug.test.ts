// Numbers that are not finite: found in every float type, at the first instruction that writes them, and named.
import { describe, expect, test } from "vitest";
import { add, div, input, log, mul } from "../kernels/expr.ts";
import { CpuDevice } from "./cpu.ts";
import { NonFiniteError } from "./debug.ts";
import type { FloatType, Plan } from "./plan.ts";
import { prepare } from "./prepare.ts";
import { Bench, PlanBuilder, plainProvider, testHeap } from "./testing.ts";

const heap = testHeap();
const provider = plainProvider(heap);
const f32 = (...shape: number[]) => ({ shape, dtype: "f32" as const });

describe("firstNonFinite", () => {
  const device = new CpuDevice({ heap, prepared: prepare(new PlanBuilder(provider).plan()), provider });

  test.each<FloatType>(["f32", "bf16", "f16"])("finds the place in %s, at any alignment to the vectors", (dtype) => {
    const bench = new Bench({ ...new PlanBuilder(provider).plan(), arenaBytes: 1024 }, { heap });
    const operand = { space: "arena", offset: 0, shape: [77], dtype } as const;
    const where = (data: readonly number[]): number => {
      bench.write(operand, data);
      return device.firstNonFinite(bench.arena, operand);
    };
    const numbers = Array.from({ length: 77 }, (_, i) => (i - 40) * 1.5);
    expect(where(numbers)).toBe(-1);
    // The largest numbers of a type are finite.
    expect(where(numbers.with(50, dtype === "f16" ? 65504 : -3e38))).toBe(-1);
    for (const at of [0, 5, 15, 16, 63, 64, 76]) {
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        expect(where(numbers.with(at, bad))).toBe(at);
      }
    }
    expect(device.firstNonFinite(bench.arena, { ...operand, dtype: "i32" })).toBe(-1);
  });
});

describe("a checked run", () => {
  /** log(x) / w, then an update of w by 1e38 of it. */
  function program(): Plan {
    const builder = new PlanBuilder(provider);
    const [x, w] = [builder.operand(f32(3)), builder.operand(f32(3), "shared")];
    const [a, b] = [builder.operand(f32(3)), builder.operand(f32(3))];
    builder.add("map", [x], [a], { exprs: [log(input(0))] });
    builder.add("map", [a, w], [b], { exprs: [div(input(0), input(1))] });
    builder.add("update", [w, b], [], { exprs: [add(input(0), mul(input(1), 1e38))], targets: [0] });
    const plan = builder.plan();
    const instructions = plan.instructions.map((it, i) => ({ ...it, scope: `layer/${i}` }));
    return { ...plan, instructions, inputs: { x }, parameters: { w } };
  }

  const run = (x: number[], w: number[], checkFinite = true): (() => void) => {
    const plan = program();
    const bench = new Bench(plan, { heap, checkFinite });
    bench.write(plan.inputs.x!, x);
    bench.write(plan.parameters.w!, w);
    return () => bench.executable.run();
  };

  test("passes finite numbers", () => {
    expect(run([1, 2, 3], [1, 2, 3])).not.toThrow();
  });

  test("names the first instruction, its scope and the element, and that its inputs were finite", () => {
    expect(run([1, -2, 3], [1, 2, 3])).toThrow(NonFiniteError);
    expect(run([1, -2, 3], [1, 2, 3])).toThrow(
      /instruction #0 in layer\/0 wrote a number that is not finite at element 1 of its result 0: map.*; its inputs are finite/,
    );
    expect(run([1, 2, 3], [1, 2, 0])).toThrow(/instruction #1 in layer\/1 .* at element 2 .*; its inputs are finite/);
  });

  test("names the input or parameter that held it before", () => {
    expect(run([1, 2, Number.NaN], [1, 2, 3])).toThrow(/#0 in layer\/0 .*; its input 0 \(input x\), f32\[3\], came so/);
    expect(run([1, 2, 3], [1, Number.NaN, 3])).toThrow(/#1 in layer\/1 .*; its input 1 \(parameter w\), f32\[3\]/);
  });

  test("names the parameter that an update spoils", () => {
    expect(run([1, Math.E, 1], [1, 0.1, 1])).toThrow(
      /#2 in layer\/2 .* at element 1 of its result 0 \(parameter w\): update/,
    );
  });

  test("is off unless asked for", () => {
    expect(run([1, -2, 3], [1, 2, 3], false)).not.toThrow();
  });
});
