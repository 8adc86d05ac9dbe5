// The executor itself: order, garbage, profile, several threads on one plan, and what is refused.
import { once } from "node:events";
import { getHeapStatistics } from "node:v8";
import { Worker } from "node:worker_threads";
import { describe, expect, test, vi } from "vitest";
import { add, input, max, mul, sub, uniform } from "../kernels/expr.ts";
import { moduleUrl } from "../memory/index.ts";
import { bind, CpuDevice } from "./cpu.ts";
import { formatProfile } from "./executor.ts";
import type { Operand, Plan } from "./plan.ts";
import { prepare } from "./prepare.ts";
import type { Provider } from "./provider.ts";
import { Bench, PlanBuilder, plainProvider, testHeap } from "./testing.ts";

const heap = testHeap();
const provider = plainProvider(heap);

/** A step of linear regression by gradient descent: every trainer thread has its x, y and lr, all share w. */
function regression(
  batch: number,
  features: number,
): { plan: Plan; x: Operand; y: Operand; w: Operand; lr: Operand; loss: Operand } {
  const builder = new PlanBuilder(provider);
  const f32 = (...shape: number[]): Operand => builder.operand({ shape, dtype: "f32" });
  const [x, y, lr] = [f32(batch, features), f32(batch, 1), f32()];
  const w = builder.operand({ shape: [features, 1], dtype: "f32" }, "shared");
  const [predicted, error, loss, gradient] = [f32(batch, 1), f32(batch, 1), f32(), f32(features, 1)];
  builder.add("matmul", [x, w], [predicted], { transposeA: false, transposeB: false });
  builder.add("map", [predicted, y], [error], { exprs: [sub(input(0), input(1))] });
  const square = mul(mul(input(0), input(0)), 1 / batch);
  builder.add("reduce", [error], [loss], { op: "sum", axes: [0, 1], keepDims: false, exprs: [square] });
  builder.add("matmul", [x, error], [gradient], { transposeA: true, transposeB: false });
  const moved = sub(input(0), mul(input(2), mul(input(1), 2 / batch)));
  builder.add("update", [w, gradient, lr], [], { exprs: [moved], targets: [0] });
  return { plan: builder.plan(), x, y, w, lr, loss };
}

function fill(bench: Bench, { x, y, lr }: ReturnType<typeof regression>, weights: readonly number[]): void {
  const features = weights.length;
  const data = Array.from(
    { length: x.shape[0]! * features },
    (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 16) / 32768 - 1,
  );
  bench.write(x, data);
  bench.write(
    y,
    Array.from({ length: x.shape[0]! }, (_, i) => weights.reduce((sum, w, j) => sum + w * data[i * features + j]!, 0)),
  );
  bench.write(lr, [0.1]);
}

describe("executor", () => {
  test("runs instructions in order, over and over", () => {
    const problem = regression(32, 3);
    const bench = new Bench(problem.plan, { heap });
    const weights = [1, -2, 0.5];
    fill(bench, problem, weights);
    bench.executable.run();
    const first = bench.read(problem.loss)[0]!;
    for (let step = 0; step < 300; step++) bench.executable.run();
    expect(bench.read(problem.loss)[0]!).toBeLessThan(first * 1e-6);
    for (const [i, w] of bench.read(problem.w).entries()) expect(w).toBeCloseTo(weights[i]!, 2);
  });

  test("a step makes no garbage", () => {
    const problem = regression(8, 4);
    // The plain provider computes in JavaScript; the executor's own garbage shows without it.
    const idle: Provider = { ...provider, matmul: () => () => {} };
    const bench = new Bench(problem.plan, { heap, provider: idle });
    fill(bench, problem, [1, 2, 3, 4]);
    const allocated = (): number => Reflect.get(getHeapStatistics(), "total_allocated_bytes");
    for (let step = 0; step < 20_000; step++) bench.executable.run();
    // So many steps that what V8 allocates for itself does not count.
    const steps = 200_000;
    const before = allocated();
    for (let step = 0; step < steps; step++) bench.executable.run();
    expect((allocated() - before) / steps).toBeLessThan(20);
  });

  test("threads bind one plan to their own arenas and share parameters", async () => {
    const problem = regression(16, 3);
    const prepared = prepare(problem.plan);
    const shared = heap.alloc(problem.plan.sharedBytes);
    const weights = [0.25, -1, 2];
    const benches = Array.from({ length: 2 }, () => new Bench(problem.plan, { heap, shared }));
    const workers = benches.map((bench) => {
      fill(bench, problem, weights);
      const workerData = { memory: heap.memory, prepared, arena: bench.arena, shared, steps: 300 };
      return new Worker(moduleUrl(import.meta.url, "./testing-worker"), { workerData });
    });
    const codes = await Promise.all(workers.map((worker) => once(worker, "exit")));
    expect(codes.flat()).toEqual([0, 0]);
    for (const [i, w] of benches[0]!.read(problem.w).entries()) expect(w).toBeCloseTo(weights[i]!, 2);
  });

  test("the profile names instructions and sums kinds", () => {
    const problem = regression(8, 3);
    const bench = new Bench(problem.plan, { heap });
    expect(bench.executable.profile()).toMatchObject({ runs: 0, microseconds: 0 });
    for (let step = 0; step < 3; step++) bench.executable.runProfiled();
    const profile = bench.executable.profile();
    expect(profile.runs).toBe(3);
    expect(profile.instructions.map(({ kind }) => kind)).toEqual(["matmul", "map", "reduce", "matmul", "update"]);
    expect(profile.kinds.find(({ kind }) => kind === "matmul")!.count).toBe(2);
    const total = profile.kinds.reduce((sum, { microseconds }) => sum + microseconds, 0);
    expect(total).toBeCloseTo(profile.microseconds, 6);
    expect(formatProfile(profile, 2)).toContain("2 × matmul");
  });

  test("DEBUG=1 prints the instructions", () => {
    const printed = vi.spyOn(console, "error").mockImplementation(() => {});
    vi.stubEnv("DEBUG", "1");
    prepare(regression(8, 3).plan);
    expect(printed.mock.calls[0]![0]).toBe(
      "   0 matmul(f32[8,3], f32[3,1]) → f32[8,1] {transposeA: false, transposeB: false}",
    );
    expect(printed).toHaveBeenCalledTimes(5);
    vi.unstubAllEnvs();
    printed.mockRestore();
  });

  test("DEBUG=2 stops at the first number that is not finite", () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    vi.stubEnv("DEBUG", "2");
    const problem = regression(8, 3);
    const bench = new Bench(problem.plan, { heap });
    fill(bench, problem, [1, 2, 3]);
    bench.executable.run();
    bench.write(problem.y, [0, 0, Number.NaN, 0, 0, 0, 0, 0]);
    expect(() => bench.executable.run()).toThrow(
      "instruction #1 wrote a number that is not finite at element 2 of its result 0: map(f32[8,1], f32[8,1]) → f32[8,1]",
    );
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  test("random numbers follow the seed", () => {
    const builder = new PlanBuilder(provider);
    const seed = builder.operand({ shape: [], dtype: "u32" });
    const out = builder.operand({ shape: [1000], dtype: "f32" });
    builder.add("map", [seed], [out], { exprs: [uniform(input(0), 1)] });
    const bench = new Bench(builder.plan(), { heap });
    const draw = (value: number): number[] => {
      bench.write(seed, [value]);
      bench.executable.run();
      return bench.read(out);
    };
    const first = draw(4_000_000_000);
    expect(draw(7)).not.toEqual(first);
    expect(draw(4_000_000_000)).toEqual(first);
    expect(first.reduce((a, b) => a + b) / 1000).toBeCloseTo(0.5, 1);
  });
});

describe("cpu device", () => {
  test("copies in and out of zeroed memory", () => {
    const prepared = prepare(regression(4, 2).plan);
    const device = new CpuDevice({ heap, prepared, provider });
    const address = device.allocate(16);
    device.write(address + 4, Uint8Array.of(1, 2, 3));
    const bytes = new Uint8Array(8);
    device.read(address, bytes);
    expect([...bytes]).toEqual([0, 0, 0, 0, 1, 2, 3, 0]);
    device.free(address);
    expect(() => device.free(address)).toThrow();
  });
});

describe("what is refused", () => {
  const one = (kind: string, attrs = {}): Plan => {
    const builder = new PlanBuilder(provider);
    const operand = builder.operand({ shape: [4], dtype: "f32" });
    builder.add(kind, [operand], [operand], attrs);
    return builder.plan();
  };
  const options = { heap, provider, arena: 0, shared: 0 };

  test("an unknown op kind", () => {
    expect(() => bind(prepare(one("convolve")), options)).toThrow(
      'the cpu has no op "convolve"; it has map, reduce, rows, update, matmul,',
    );
  });

  test("attributes that do not fit", () => {
    expect(() => bind(prepare(one("slice", { axis: 1, start: 0, end: 4 })), options)).toThrow(
      "axis must be an integer from -1 to 0, got 1; in slice(f32[4]) → f32[4]",
    );
  });

  test("shapes that do not broadcast", () => {
    const builder = new PlanBuilder(provider);
    const [a, b] = [3, 4].map((n) => builder.operand({ shape: [n], dtype: "f32" })) as [Operand, Operand];
    builder.add("map", [a, b], [a], { exprs: [max(input(0), add(input(1), 1))] });
    expect(() => prepare(builder.plan())).toThrow(
      "the inputs do not broadcast along axis 0; in map(f32[3], f32[4]) → f32[3]",
    );
  });

  test("spaces and operands outside of the heap", () => {
    const prepared = prepare(one("concat"));
    expect(() => bind(prepared, { ...options, arena: 8 })).toThrow("arena must be the address of");
    expect(() => bind(prepared, { ...options, arena: heap.capacity })).toThrow("arena must be the address of");
    const plan = { ...prepared.plan, arenaBytes: 8 };
    expect(() => bind({ ...prepared, plan }, options)).toThrow(
      'an operand at 0 to 16 does not lie in the 8 bytes of space "arena"',
    );
  });

  test("an instruction of another plan", () => {
    const prepared = prepare(one("concat"));
    const plan = one("concat");
    expect(() =>
      bind(
        { ...prepared, plan: { ...plan, instructions: [...plan.instructions, ...prepared.plan.instructions] } },
        options,
      ),
    ).toThrow();
  });
});
