// Recompute: the same numbers to the bit, in less memory, and nothing with an effect twice.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { wasmProvider } from "../engine/providers/index.ts";
import { scratchBytes } from "../engine/scratch.ts";
import { Bench, testHeap } from "../engine/testing.ts";
import { dropout } from "../program/functions.ts";
import { type Op, type Program, sizeOf } from "../program/ir.ts";
import { placeUpdates } from "../program/place-updates.ts";
import { plan } from "../program/planner.ts";
import type { Tensor } from "../program/tensor.ts";
import { randomFrom } from "../program/testing.ts";
import { adam, resNet, trained, transformer } from "../program/testing-models.ts";
import { checkPlan } from "../program/testing-plan.ts";
import { trace } from "../program/trace.ts";
import { verify } from "../program/verify.ts";
import { workOf } from "./op-work.ts";
import { optimize } from "./optimize.ts";
import type { Segments } from "./recompute.ts";
import { effectsOf, randomProgram, spec, tableRule } from "./testing.ts";

const rules = { parameter: (_: string, { trainable }: { trainable: boolean }) => (trainable ? adam : undefined) };

const step = (forward: Program): Program => placeUpdates(trained(forward), { ...rules, field: () => tableRule });

const small = { batch: 2, sequence: 8, layers: 4, width: 32, heads: 2 };
const steps = {
  transformer: step(transformer(small)),
  resNet: step(resNet({ batch: 2, side: 16, blocks: [2, 2], width: 4 })),
  perceptron: step(perceptron(9)),
};

/** A chain without branches: like values are all of one kind. */
function perceptron(layers: number): Program {
  return trace(
    ({ x }, ctx) => {
      let h: Tensor = x;
      for (let i = 0; i < layers; i++) {
        const w = ctx.scope(`layer/${i}`, () => ctx.parameter("weight", [24, 24], { kind: "he-uniform" }));
        h = ctx.scope(`layer/${i}`, () => dropout(h.matmul(w).tanh(), { rate: 0.2 }));
      }
      return { loss: h.square().mean() };
    },
    { inputs: { x: { shape: [96, 24], dtype: "f32" } } },
  );
}

/** Loss after each step, and all parameters, running statistics and optimizer state at the end, as they lie in memory. */
function train(program: Program, count: number): { losses: number[]; state: Record<string, number[]> } {
  const heap = testHeap();
  const provider = wasmProvider(heap);
  const planned = plan(program, { scratch: (op) => scratchBytes(op, provider) });
  checkPlan(program, planned);
  const bench = new Bench(planned, { heap, provider });
  const random = randomFrom(3);
  const numbers = (shape: readonly number[], scale: number): number[] =>
    Array.from({ length: sizeOf(shape) }, () => scale * (random() - 0.5));
  for (const [name, { init }] of Object.entries(program.parameters)) {
    const operand = planned.parameters[name]!;
    const fixed = { zeros: 0, ones: 1 }[init.kind as string];
    bench.write(
      operand,
      fixed === undefined ? numbers(operand.shape, 0.5) : new Array(sizeOf(operand.shape)).fill(fixed),
    );
  }
  const losses: number[] = [];
  for (let i = 0; i < count; i++) {
    for (const [name, operand] of Object.entries(planned.inputs)) {
      if (name === "seed") bench.write(operand, [1000 + i]);
      else if (name === "scalar:lr") bench.write(operand, [0.01]);
      else if (name === "weight") bench.write(operand, new Array(sizeOf(operand.shape)).fill(1));
      else bench.write(operand, numbers(operand.shape, 2));
    }
    bench.executable.run();
    losses.push(bench.read(planned.outputs.loss!)[0]!);
  }
  const state = Object.fromEntries(Object.entries(planned.parameters).map(([name, o]) => [name, bench.read(o)]));
  bench.executable.dispose();
  heap.free(bench.arena);
  heap.free(bench.shared);
  return { losses, state };
}

describe.each(Object.keys(steps) as (keyof typeof steps)[])("%s", (name) => {
  const program = steps[name];
  const whole = optimize(program);
  const expected = train(whole, 3);
  const scopes = { transformer: ["layer/1", "layer/2"], resNet: ["stage/0", "stage/1"], perceptron: ["layer/2"] }[name];

  it.each<{ segments: Segments }>([{ segments: "auto" }, { segments: 3 }, { segments: scopes }])(
    "trains the same to the bit with $segments, in less memory",
    ({ segments }) => {
      const again = optimize(program, { recompute: { segments } });
      verify(again);
      expect(again.ops.some(({ scope }) => scope.startsWith("recompute/"))).toBe(true);
      expect(plan(again).arenaBytes).toBeLessThan(plan(whole).arenaBytes);
      expect(train(again, 3)).toEqual(expected);
      expect(expected.losses.every(Number.isFinite)).toBe(true);
    },
  );
});

describe("recompute", () => {
  it("auto lets BERT-base train with four times the batch in the same memory, for a fifth of its work", () => {
    const whole = optimize(step(transformer({ batch: 8 })));
    const again = optimize(step(transformer({ batch: 32 })), { recompute: { segments: "auto" } });
    expect(plan(again).arenaBytes).toBeLessThan(plan(whole).arenaBytes);
    const isCopy = ({ scope }: Op): boolean => scope.startsWith("recompute/");
    const work = (ops: readonly Op[]): number => ops.reduce((sum, op) => sum + workOf(again, op), 0);
    const [once, twice] = [again.ops.filter((op) => !isCopy(op)), again.ops.filter(isCopy)].map(work) as [
      number,
      number,
    ];
    expect(twice / once).toBeLessThanOrEqual(0.2);
  });

  it("random steps keep their outputs, updates and tables", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e9 }), fc.constantFrom<Segments>("auto", 2, 5), (seed, segments) => {
        const traced = randomProgram(seed);
        const again = optimize(traced, { recompute: { segments } });
        verify(again);
        checkPlan(again, plan(again));
        expect(effectsOf(again, seed)).toEqual(effectsOf(optimize(traced), seed));
      }),
      { numRuns: 30 },
    );
  });

  it("keeps some of a chain of like values", () => {
    const deep = step(perceptron(40));
    const [whole, again] = [optimize(deep), optimize(deep, { recompute: { segments: "auto" } })];
    expect(plan(again).arenaBytes).toBeLessThan(plan(whole).arenaBytes * 0.6);
  });

  it("repeats no look-up and moves no running statistic twice", () => {
    const forward = trace(
      ({ ids, x }, ctx) => {
        const rows = ctx.table(spec).lookup(ids);
        const h = rows.gather("v").reshape([3, 8]).tanh().mul(x.exp()).tanh();
        return {
          loss: h
            .matmul(ctx.parameter("w", [8, 8], { kind: "ones" }))
            .tanh()
            .square()
            .sum(),
        };
      },
      { inputs: { ids: { shape: [3, 2], dtype: "u64" }, x: { shape: [3, 8], dtype: "f32" } } },
    );
    const again = optimize(step(forward), { recompute: { segments: 2 } });
    for (const kind of ["lookup", "gather", "scatter_update"]) {
      expect(again.ops.filter((op) => op.kind === kind)).toHaveLength(1);
    }
    const { ops } = optimize(steps.resNet, { recompute: { segments: 3 } });
    expect(ops.some(({ kind, scope }) => kind === "reduce" && scope.startsWith("recompute/"))).toBe(true);
    const moved = ops.filter((op) => op.kind === "update" && op.attrs.statistics);
    expect(moved).toHaveLength(steps.resNet.ops.filter(({ kind }) => kind === "batch_norm").length);
  });

  it("names what it does not know", () => {
    const names = (segments: Segments) => () => optimize(steps.transformer, { recompute: { segments } });
    expect(names(["layer/7"])).toThrow(
      /no op of the forward pass stands in scope "layer\/7"; there are embedding, layer\/0/,
    );
    expect(names(1)).toThrow(/at least 2 segments, got 1/);
    expect(() =>
      optimize(
        trace(({ x }) => x.exp(), { inputs: { x: { shape: [2], dtype: "f32" } } }),
        { recompute: { segments: "auto" } },
      ),
    ).toThrow(/recompute needs the output loss: the program has output/);
  });
});
