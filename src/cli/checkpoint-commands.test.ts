// The real commands that export and show tables of checkpoints.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCheckpoint, saveCheckpoint } from "../checkpoint/index.ts";
import { generateCriteo } from "../data/index.ts";
import { partFolder, partitionOf } from "../ps/index.ts";
import { exportCommand } from "./export.ts";
import { Workplace } from "./testing.ts";
import { UsageError } from "./usage.ts";

const place = new Workplace();
afterAll(() => place.dispose());

/** Two keys of the first of two partitions and one of the other. */
const partKeys = [0, 1].map((part) => {
  const own = Array.from({ length: 100 }, (_, i) => BigInt(i + 1)).filter((key) => partitionOf(key, 2) === part);
  return BigUint64Array.from(own.slice(0, 2 - part));
});
const [[first], [other]] = partKeys as [BigUint64Array, BigUint64Array];

beforeAll(async () => {
  await generateCriteo({ path: join(place.path, "train.tsv"), rows: 400 });
  const args = ["--dim", "4", "--hidden", "8", "--name", "run", "--quiet", "--threads", "1"];
  expect((await place.run("train", "train.tsv", ...args)).code).toBe(0);
  for (const [part, keys] of partKeys.entries()) {
    const rows = keys.length;
    const columns = [new Float32Array(3 * rows).fill(0.5 + part)];
    const [show, click] = [new Float32Array(rows).fill(10 * part), new Float32Array(rows).fill(part)];
    const statistics = [show, click, new Float32Array(rows), new Float32Array(rows).fill(1)];
    await saveCheckpoint(partFolder(join(place.path, "saved"), part, 2), {
      tables: [
        { name: "ids", rows, columns: [{ name: "v", width: 3 }], chunks: () => [{ rows, keys, columns }] },
        {
          ...{ name: "ids#statistics", rows },
          columns: ["show", "click", "unseen", "delta"].map((name) => ({ name, width: 1 })),
          chunks: () => [{ rows, keys, columns: statistics }],
        },
      ],
    });
  }
}, 60_000);

async function rowsOf(file: string): Promise<Record<string, unknown>[]> {
  return parquetReadObjects({ file: Uint8Array.from(readFileSync(join(place.path, file))).buffer });
}

describe("flotilla export", () => {
  it("writes a run's table", async () => {
    const { code, stdout } = await place.run("export", "runs/run", "-o", "out.parquet");
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(/^[\d.]+ k? ?rows of features → out\.parquet: \S+, \S+, [\d.]+ kB in /),
    ]);
    await using checkpoint = await openCheckpoint(join(place.path, "runs/run/checkpoint"));
    const rows = await rowsOf("out.parquet");
    expect(rows).toHaveLength(checkpoint.table("features").rows);
    expect(Object.values(rows[0]!).filter(Array.isArray)).toEqual([expect.objectContaining({ length: 4 })]);
  });

  it("chooses rows by their statistics", async () => {
    const { stdout } = await place.run("export", "saved", "--mode", "base", "--fields", "show,v", "-o", "base.parquet");
    expect(stdout).toMatch(/^1 rows of ids → base\.parquet: show, v, /);
    expect(await rowsOf("base.parquet")).toEqual([{ key: other, show: 10, v: [1.5, 1.5, 1.5] }]);
    const less = await place.run("export", "saved", "--mode", "delta", "--score", "0", "-o", "delta.safetensors");
    expect(less.stdout).toMatch(/^3 rows of ids/);
  });

  it("lays deltas over a base", async () => {
    await place.run("export", "saved", "--mode", "delta", "--score", "0", "--fields", "v", "-o", "d.safetensors");
    const words = ["export", "saved", "--apply", "d.safetensors", "--apply", "saved", "-o", "now.parquet"];
    expect((await place.run(...words)).stdout).toMatch(/^3 rows of ids → now\.parquet: v, /);
    expect((await rowsOf("now.parquet")).map(({ key }) => key)).toEqual([...partKeys[0]!, ...partKeys[1]!].sort());
  });

  it.each([
    [["runs/run"], /required option '-o, --output <file>' not specified/],
    [["saved", "-o", "x.parquet", "--mode", "bass"], /did you mean base\?/],
  ])("refuses %j", async (args, message) => {
    const { code, stderr } = await place.run("export", ...args);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });

  it.each([
    ["runs/rum", {}, /is neither a run nor a checkpoint; runs in \S+runs: run; did you mean run\?/],
    ["runs/run", { output: "x.csv" }, /x\.csv ends neither in \.parquet nor in \.safetensors/],
    ["runs/run", { output: "none/x.parquet" }, /there is no folder \S*none/],
    ["runs/run", { score: 2 }, /--score are for --mode base and delta; mode all exports all rows/],
    ["saved", { mode: "base", apply: ["saved"] }, /--apply is for --mode all, this is base/],
    ["saved", { mode: "base", deltaScore: 1 }, /--delta-score is for --mode delta/],
  ] as const)("refuses %s with %j", async (path, flags, message) => {
    const options = { output: "x.parquet", verify: true, ...flags };
    const call = exportCommand(join(place.path, path), { ...options, output: join(place.path, options.output) });
    await expect(call).rejects.toThrow(UsageError);
    await expect(call).rejects.toThrow(message);
    expect(place.has("x.parquet")).toBe(false);
  });

  it("fails where rows have no statistics", async () => {
    const { code, stderr } = await place.run("export", "runs/run", "-o", "x.parquet", "--mode", "base");
    expect([code, stderr]).toEqual([1, expect.stringContaining('the rows of table "features" have no statistics')]);
  });
});

describe("flotilla inspect", () => {
  it("shows what a checkpoint holds", async () => {
    const { code, stdout } = await place.run("inspect", "runs/run");
    expect([code, stdout]).toEqual([0, expect.stringMatching(/│ features │ [\d,]+ │ \S+\[4\], .*kB │\n│ dense/)]);
    const saved = JSON.parse((await place.run("inspect", "saved", "--json")).stdout);
    expect(saved).toMatchObject({ parts: 2, tables: [{ name: "ids", rows: 3, statistics: true }] });
  });

  it("shows rows by feature, as the run read them", async () => {
    const line = place.read("train.tsv").split("\n")[0]!.split("\t");
    const { code, stdout } = await place.run("inspect", "runs/run", `C1=${line[14]}`);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^key C1=\w* = \d+\n┌[\s\S]*│ \S+ +│ .* {2}.*│/)]);
    const gone = await place.run("inspect", "runs/run", "C1=never-seen");
    expect([gone.code, gone.stdout]).toEqual([1, expect.stringMatching(/there is no such row\n$/)]);
  });

  it("shows statistics, and all numbers as JSON", async () => {
    expect((await place.run("inspect", "saved", String(other))).stdout).toMatch(/│ show +│ +10 │ +– │/);
    const rows = JSON.parse(
      (await place.run("inspect", "saved", String(other), `0x${first!.toString(16)}`, "1000", "--json")).stdout,
    );
    expect(rows).toEqual([
      {
        ...{ key: String(other), found: true, columns: { v: [1.5, 1.5, 1.5] } },
        statistics: { show: 10, click: 1, unseen: 0, delta: 1 },
      },
      expect.objectContaining({ key: String(first) }),
      { key: "1000", found: false },
    ]);
  });
});
