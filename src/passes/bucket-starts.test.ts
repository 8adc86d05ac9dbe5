// The order in which buckets start: a schedule that keeps its rules, and puts first what the next forward pass reads first.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { linear } from "../nn/index.ts";
import { planBuckets } from "../program/buckets.ts";
import { differentiate } from "../program/differentiate.ts";
import { trace } from "../program/trace.ts";
import { verify } from "../program/verify.ts";
import { startsByNeed, startsWhenFull } from "./bucket-starts.ts";
import { byReadiness, placeBuckets } from "./place-buckets.ts";

const ROWS = 64;

/** A chain of layers of these widths, and buckets of about a gradient each. */
function chain(widths: readonly number[]) {
  const inputs = { x: { shape: [ROWS, widths[0]!], dtype: "f32" } } as const;
  const forward = trace(
    (columns, ctx) => {
      const y = widths
        .slice(1)
        .reduce((x, width, i) => linear(ctx, `layer${i}`, x, width, { activation: "tanh" }), columns.x!);
      return { loss: y.mul(y).mean({ axes: [0, 1] }) };
    },
    { inputs, training: true },
  );
  const { program, gradients } = differentiate(forward, { loss: "loss" });
  const shapeOf = (name: string): readonly number[] => program.values[program.parameters[name]!.value]!.shape;
  const ready = byReadiness(program, gradients).map((parameter) => ({ parameter, shape: shapeOf(parameter) }));
  const buckets = planBuckets(ready, { fuseBytes: 4, lastBucketBytes: 0 });
  return { program, gradients, buckets };
}

const layerOf = (name: string): number => Number(/layer(\d+)/.exec(name)![1]);

describe("buckets that are needed in the next forward pass", () => {
  test("start once each, none before it is full, in the order of the program", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 2, maxLength: 9 }), (widths) => {
        const { program, gradients, buckets } = chain(widths);
        const full = new Map(startsWhenFull(program, gradients, buckets).map(({ bucket, after }) => [bucket, after]));
        const starts = startsByNeed(program, gradients, buckets);
        expect(new Set(starts.map(({ bucket }) => bucket))).toEqual(new Set(buckets));
        expect(starts.length).toBe(buckets.length);
        for (const [i, { bucket, after }] of starts.entries()) {
          expect(after).toBeGreaterThanOrEqual(full.get(bucket)!);
          expect(after).toBeGreaterThanOrEqual(starts[i - 1]?.after ?? -1);
          expect(after).toBeLessThan(program.ops.length);
        }
        const placed = placeBuckets(program, gradients, starts);
        verify(placed);
        const order = placed.ops.flatMap((op) => (op.kind === "bucket" ? [op.attrs.name] : []));
        expect(order).toEqual(starts.map(({ bucket }) => bucket.name));
      }),
      { numRuns: 40 },
    );
  });

  test("let those of the first layers overtake long ones of the last layers", () => {
    const { program, gradients, buckets } = chain([64, 64, 64, 64, 64, 64, 64, 2048, 2048]);
    const layers = (starts: typeof startsByNeed): number[] =>
      starts(program, gradients, buckets)
        .filter(({ bucket }) => bucket.parts[0]!.shape.length === 2)
        .map(({ bucket }) => layerOf(bucket.parts[0]!.parameter));
    expect(layers(startsWhenFull)).toEqual([7, 6, 5, 4, 3, 2, 1, 0]);
    const order = layers(startsByNeed);
    // The longest is on its way behind the backward pass, while the next forward pass is at what comes before it.
    expect(order.indexOf(0)).toBeLessThan(order.length - 1);
    expect(order.slice(0, -1)).toContain(0);
    expect([6, 7]).toContain(order.at(-1));
  });
});
