// The real command that plans jobs.
import { afterAll, describe, expect, it } from "vitest";
import { Workplace } from "./testing.ts";
import { quantity } from "./usage.ts";

const place = new Workplace();
afterAll(() => place.dispose());

/** Nothing that was measured on this machine. */
const run = (...args: string[]) => place.startWith({ XDG_CACHE_HOME: place.path }, "plan", ...args).outcome;

describe("flotilla plan", () => {
  it("says what a model takes", async () => {
    const { code, stdout, stderr } = await run("--features", "1e11", "--dim", "8", "--hosts-memory", "512GB");
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(
      /^100 G features × 9 weights = 900 G parameters, adagrad, statistics: \d+ bytes a row, \d+ with/,
    );
    expect(stdout).toMatch(/│ servers +│ +\d+ hosts, \d+ partitions each +│/);
    expect(stdout).toMatch(/│ +\d+ servers │ memory of the tables +│/);
    expect(stdout).toMatch(/^bottleneck: (cores|network|disks) /m);
    expect(stdout).toMatch(/^constants: .*; --measure measures this machine$/m);
  });

  it("says it as JSON, and whether given hosts are enough", async () => {
    const args = ["--features", "1G", "--dim", "16", "--samples-per-second", "1e5", "--optimizer", "adam", "--json"];
    const { stdout } = await run(...args, "--wire", "f16", "--no-linear", "--no-statistics");
    expect(JSON.parse(stdout)).toMatchObject({
      samplesPerSecond: 1e5,
      fits: true,
      servers: { count: expect.any(Number) },
    });
    const few = await run("--features", "1e11", "--dim", "8", "--servers", "2");
    expect(few.code).toBe(1);
    expect(few.stdout).toMatch(/the tables do not fit: 2 servers have 205 GB each for them, [\d.]+ TB are needed\n$/);
  });

  it.each([
    [["--dim", "8"], /give --features N and --dim N/],
    [["--features", "1e9", "--dim", "8", "--hosts-memory", "64Gbit"], /Give a number of at least 1048576, as 256GB/],
    [["--features", "1e9", "--dim", "8", "--optimizer", "adagard"], /did you mean adagrad\?/],
  ])("refuses %j", async (args, message) => {
    const { code, stderr } = await run(...args);
    expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
  });
});

it("quantities have units", () => {
  expect(["256GB", "1_000", "1.5 k", "2e3B"].map(quantity(1, "B"))).toEqual([256e9, 1000, 1500, 2000]);
  expect(["25Gbit", "25Gbit/s", "1e9"].map(quantity(1, "bit"))).toEqual([25e9, 25e9, 1e9]);
  for (const text of ["", "x", "12Q", "-1", "1e", "12GB"])
    expect(() => quantity(1)(text), text).toThrow("as 1e9 or 1G");
});
