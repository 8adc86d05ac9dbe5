// Plans: views, in-place maps, memory near the least possible, and one shared block for several programs.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { input, mul } from "../kernels/expr.ts";
import { deferUpdates } from "./defer-updates.ts";
import { differentiate } from "./differentiate.ts";
import type { Program, TensorType } from "./ir.ts";
import { placeUpdates } from "./place-updates.ts";
import { type Interval, lowerBound, place } from "./placement.ts";
import { plan } from "./planner.ts";
import { Tensor } from "./tensor.ts";
import { adam, resNet, trained, transformer } from "./testing-models.ts";
import { checkPlan } from "./testing-plan.ts";
import { trace } from "./trace.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });

describe("placement", () => {
  const intervals = fc.array(
    fc
      .record({ bytes: fc.integer({ min: 1, max: 5000 }), start: fc.nat(30), length: fc.nat(12) })
      .map(({ bytes, start, length }): Interval => ({ bytes, start, end: start + length })),
    { maxLength: 40 },
  );

  it("no two that are live together overlap, and nothing is below the bound", () => {
    fc.assert(
      fc.property(intervals, (list) => {
        const { offsets, bytes } = place(list);
        for (const [i, a] of list.entries()) {
          expect(offsets[i]! % 64).toBe(0);
          expect(offsets[i]! + a.bytes).toBeLessThanOrEqual(bytes);
          for (const [j, b] of list.entries()) {
            if (i >= j || a.end < b.start || b.end < a.start) continue;
            expect(offsets[i]! + a.bytes <= offsets[j]! || offsets[j]! + b.bytes <= offsets[i]!).toBe(true);
          }
        }
        expect(bytes).toBeGreaterThanOrEqual(lowerBound(list));
      }),
    );
  });

  it("reuses a gap that fits", () => {
    const list = [
      { bytes: 640, start: 0, end: 1 },
      { bytes: 64, start: 0, end: 9 },
      { bytes: 600, start: 2, end: 3 },
    ];
    expect(place(list).bytes).toBe(704);
  });
});

/** A perceptron's training gradients. */
function perceptron(layers: number): Program {
  const forward = trace(
    ({ x }, ctx) => {
      let h: Tensor = x;
      for (let i = 0; i < layers; i++) {
        h = h.matmul(ctx.parameter(`w${i}`, [64, 64], { kind: "he-uniform" })).relu();
      }
      return { loss: h.square().mean() };
    },
    { inputs: { x: f32(32, 64) } },
  );
  const { program, gradients } = differentiate(forward, { loss: "loss" });
  return { ...program, outputs: { ...program.outputs, last: gradients.w0! } };
}

describe("plan", () => {
  it("stays within a few percent of the bound", () => {
    for (const layers of [2, 5, 9]) {
      const program = perceptron(layers);
      const result = plan(program, { scratch: ({ kind }) => (kind === "matmul" ? 10_000 : 0) });
      checkPlan(program, result);
      expect(result.arenaBytes / result.arenaLowerBound).toBeLessThan(1.1);
    }
  });

  it.each([
    ["ResNet-50", resNet({ batch: 8 })],
    ["BERT-base", transformer({ batch: 8 })],
  ])(
    "stays within a tenth of the bound on %s, with scratch memory, gradients applied or left to others",
    (_, forward) => {
      const rules = {
        parameter: (_: string, { trainable }: { trainable: boolean }) => (trainable ? adam : undefined),
        field: () => adam,
      };
      const differentiated = trained(forward);
      for (const program of [placeUpdates(differentiated, rules), deferUpdates(differentiated, rules).step]) {
        const result = plan(program, {
          scratch: ({ kind, outputs }) => (kind === "matmul" ? 400 * outputs[0]!.shape[0]! : 0),
        });
        expect(result.arenaBytes / result.arenaLowerBound).toBeLessThan(1.1);
      }
    },
  );

  it("a chain of maps runs in one buffer, and inputs are not overwritten", () => {
    const program = trace(({ x }) => x.exp().tanh().neg().sqrt(), { inputs: { x: f32(1000) } });
    const result = plan(program);
    checkPlan(program, result);
    expect(result.arenaBytes).toBe(2 * 4032);
    expect(new Set(result.instructions.map(({ outputs }) => outputs[0]!.offset)).size).toBe(1);
    expect(result.inputs.x!.offset).not.toBe(result.outputs.output!.offset);
  });

  it("rows run in the buffer of an operand, but numbers a row do not", () => {
    const [x, sum] = [input(0), input(2)];
    const program = trace(
      (inputs) => {
        const wide = inputs.x.exp();
        const [y, rows] = wide.trace.builder.emit("rows", [wide.id, inputs.scale.exp().id], {
          stages: [{ op: "sum", expr: mul(x, input(1)) }],
          exprs: [mul(x, sum)],
          rowExprs: [sum],
          shape: [100, 100],
        });
        return { y: new Tensor(wide.trace, y!), rows: new Tensor(wide.trace, rows!) };
      },
      { inputs: { x: f32(100, 100), scale: f32(100) } },
    );
    const result = plan(program);
    checkPlan(program, result);
    const { inputs, outputs } = result.instructions.at(-1)!;
    expect(outputs[0]!.offset).toBe(inputs[0]!.offset);
    expect(outputs[1]!.offset).not.toBe(inputs[1]!.offset);
  });

  it("a map does not overwrite an operand that it broadcasts, or that is read later", () => {
    const program = trace(
      ({ x }) => {
        const a = x.exp();
        const square = a.mul(a.reshape([16, 1]).slice(1, 0, 1).transpose());
        return { square, both: a.sum().add(square.sum()) };
      },
      { inputs: { x: f32(16, 1) } },
    );
    checkPlan(program, plan(program));
  });

  it("reshapes and contiguous slices are views without instructions", () => {
    const program = trace(({ x }) => x.exp().slice(0, 1, 3).reshape([8]).add(1), { inputs: { x: f32(4, 4) } });
    const result = plan(program);
    checkPlan(program, result);
    expect(result.instructions.map(({ kind }) => kind)).toEqual(["map", "map"]);
    const [first, second] = result.instructions;
    expect(second!.inputs[0]!.offset).toBe(first!.outputs[0]!.offset + 16);
    expect(second!.inputs[0]!.shape).toEqual([8]);
  });

  it("scratch memory is the instruction's own", () => {
    const program = trace(({ x }) => x.matmul(x).matmul(x), { inputs: { x: f32(16, 16) } });
    const result = plan(program, { scratch: () => 1000 });
    checkPlan(program, result);
    expect(result.instructions[0]!.scratch).toMatchObject({ space: "arena", shape: [250], dtype: "f32" });
  });

  it("refuses to read a view of a parameter after its update", () => {
    const program = trace(
      ({ x }, ctx) => {
        const w = ctx.parameter("w", [2, 2], { kind: "ones" });
        const view = w.reshape([4]);
        x.trace.builder.emit("update", [w.id, x.id], { exprs: [{ op: "input", index: 1 }], targets: [0] });
        return view.neg();
      },
      { inputs: { x: f32(2, 2) } },
    );
    expect(() => plan(program)).toThrow(/map reads value 2, a view of a parameter, after the parameter was written/);
  });

  it("programs can share the block of parameters", () => {
    const model = (training: boolean): Program =>
      trace(
        ({ x }, ctx) => {
          const y = x.mul(ctx.parameter("a", [3], { kind: "ones" }));
          return training
            ? y.mul(ctx.parameter("extra", [3], { kind: "ones" }))
            : y.add(ctx.parameter("late", [5, 3], { kind: "ones" }));
        },
        { inputs: { x: f32(3) } },
      );
    const first = plan(model(true));
    const second = plan(model(false), { shared: first });
    expect(first.sharedBytes).toBe(128);
    expect(second.parameters.a).toEqual(first.parameters.a);
    expect(second.parameters.extra).toEqual(first.parameters.extra);
    expect(second.parameters.late!.offset).toBe(128);
    expect(second.sharedBytes).toBe(192);
    const other = trace((_, ctx) => ctx.parameter("a", [4], { kind: "ones" }), { inputs: {} });
    expect(() => plan(other, { shared: first })).toThrow(
      /parameter a has shape \[4\], the shared block holds it as \[3\]/,
    );
  });
});
