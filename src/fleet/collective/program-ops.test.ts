// Collectives as ops of programs: the engine over real ranks against the reference, gradients against finite differences,
// and layers whose parts are on several ranks against whole ones.
import { describe, expect, test } from "vitest";
import { allGather, allReduce, allToAll, broadcast, concat, reduceScatter } from "../../nn/index.ts";
import { differentiate, interpretRanks, type Program, type Tensor, trace, verify } from "../../program/index.ts";
import { randomFrom } from "../../program/testing.ts";
import { runRanks } from "./testing-program.ts";

const f32 = (...shape: number[]) => ({ shape, dtype: "f32" }) as const;

function random(count: number, seed: number): Float64Array {
  const next = randomFrom(seed);
  return Float64Array.from({ length: count }, () => Math.fround(next() * 2 - 1));
}

const functions: Readonly<Record<string, (x: Tensor, ranks: number) => Tensor>> = {
  allReduce: (x) => allReduce(x),
  allGather: (x) => allGather(x),
  reduceScatter: (x) => reduceScatter(x),
  broadcast: (x, ranks) => broadcast(x, { root: ranks - 1 }),
  allToAll: (x) => allToAll(x),
};

/** loss = Σ f(x²)² · c over all functions f, with the gradients by their x; c differs from rank to rank. */
function squares(ranks: number): Program {
  const shape = f32(2 * ranks, 3);
  const inputs = Object.fromEntries(Object.keys(functions).map((name) => [name, shape]));
  const forward = trace(
    (all, ctx) => {
      const results = Object.entries(functions).map(([name, of]) => [name, of(all[name]!.square(), ranks)] as const);
      const losses = results.map(([, y]) => y.square().sum());
      const maximum = allReduce(all.allReduce!, { op: "max" });
      const loss = losses.reduce((x, y) => x.add(y)).mul(ctx.rank.add(0.5));
      return { ...Object.fromEntries(results), maximum, loss };
    },
    { inputs, ranks },
  );
  const { program, inputGradients } = differentiate(forward, { loss: "loss", inputs: Object.keys(functions) });
  const gradients = Object.entries(inputGradients).map(([name, id]) => [`d ${name}`, id]);
  return { ...program, outputs: { ...program.outputs, ...Object.fromEntries(gradients) } };
}

describe.each([1, 2, 3, 4])("%i ranks", (ranks) => {
  const names = Object.keys(functions);
  const feeds = Array.from({ length: ranks }, (_, rank) => ({
    ...Object.fromEntries(names.map((name, i) => [name, random(6 * ranks, 10 * rank + i + 1)])),
    "scalar:rank": Float64Array.of(rank),
  })) as Record<string, Float64Array>[];

  test("engine, reference and finite differences agree", async () => {
    const program = squares(ranks);
    verify(program);
    const interpreted = (from: typeof feeds) =>
      interpretRanks(
        program,
        from.map((inputs) => ({ inputs })),
      );
    const results = interpreted(feeds);
    for (const [rank, outputs] of (await runRanks(program, feeds)).entries()) {
      for (const output of [...names, ...names.map((name) => `d ${name}`), "maximum"]) {
        const expected = [...(results[rank]!.outputs[output] as Float64Array)];
        expect([...outputs[output]!].map((v, i) => Math.abs(v - expected[i]!) < 1e-4)).toEqual(
          expected.map(() => true),
        );
      }
      const highest = feeds[0]!.allReduce!.map((_, i) => Math.max(...feeds.map((feed) => feed.allReduce![i]!)));
      expect([...outputs.maximum!]).toEqual([...highest]);
    }
    const total = (from: typeof feeds): number =>
      interpreted(from).reduce((sum, { outputs }) => sum + (outputs.loss![0] as number), 0);
    const h = 1e-5;
    for (const [rank, feed] of feeds.entries()) {
      for (const name of names) {
        const i = 6 * ranks - 1 - rank;
        const moved = (by: number) =>
          feeds.with(rank, { ...feed, [name]: feed[name]!.map((v, j) => (j === i ? v + by : v)) });
        const slope = (total(moved(h)) - total(moved(-h))) / (2 * h);
        expect(results[rank]!.outputs[`d ${name}`]![i], name).toBeCloseTo(slope, 5);
      }
    }
  });

  test("a perceptron whose hidden units are shared out equals the whole one", async () => {
    const [rows, width, hidden] = [4, 3, 12];
    const part = hidden / ranks;
    const [x, first, second] = [random(rows * width, 10), random(width * hidden, 11), random(hidden * 2, 12)];
    const layer = (input: Tensor, a: Tensor, b: Tensor): Tensor => input.matmul(a).maximum(0).matmul(b);
    const loss = (y: Tensor, ranksOfLoss: number): Tensor =>
      y
        .square()
        .sum()
        .mul(1 / ranksOfLoss);
    const whole = gradients(
      trace(({ x, a, b }) => ({ loss: loss(layer(x, a, b), 1) }), {
        inputs: { x: f32(rows, width), a: f32(width, hidden), b: f32(hidden, 2) },
      }),
    );
    const sharded = gradients(
      trace(({ x, a, b }) => ({ loss: loss(allReduce(layer(x, a, b)), ranks) }), {
        inputs: { x: f32(rows, width), a: f32(width, part), b: f32(part, 2) },
        ranks,
      }),
    );
    const columns = (rank: number) =>
      first.filter((_, i) => i % hidden >= rank * part && i % hidden < (rank + 1) * part);
    const parts = Array.from({ length: ranks }, (_, rank) => ({
      x,
      a: columns(rank),
      b: second.slice(rank * part * 2, (rank + 1) * part * 2),
    }));
    const [expected] = interpretRanks(whole, [{ inputs: { x, a: first, b: second } }]);
    const results = await runRanks(sharded, parts);
    const da = expected!.outputs.da as Float64Array;
    for (const [rank, result] of results.entries()) {
      expect(result.loss![0]! * ranks).toBeCloseTo(expected!.outputs.loss![0] as number, 3);
      const own = da.filter((_, i) => i % hidden >= rank * part && i % hidden < (rank + 1) * part);
      for (const [i, value] of own.entries()) expect(result.da![i]).toBeCloseTo(value, 3);
    }
  });
});

/** With the gradient by input `a`. */
function gradients(forward: Program): Program {
  const { program, inputGradients } = differentiate(forward, { loss: "loss", inputs: ["a"] });
  return { ...program, outputs: { ...program.outputs, da: inputGradients.a! } };
}

test("shapes that ranks cannot share are refused where the model asks, and programs by one rank alone", () => {
  const inputs = { x: f32(5, 2) };
  expect(() => trace(({ x }) => reduceScatter(x), { inputs, ranks: 2 })).toThrow(
    /reduce_scatter.*2 ranks cannot share the first axis of \[5,2\] evenly.*program-ops\.test/,
  );
  expect(() => trace(({ x }) => broadcast(x, { root: 2 }), { inputs, ranks: 2 })).toThrow(/root must be a rank from 0/);
  const program = trace(({ x }) => concat([allGather(x), x], 0), { inputs, ranks: 2 });
  expect(() => interpretRanks(program, [{ inputs: { x: random(10, 1) } }])).toThrow(/for 2 ranks, not 1/);
});
