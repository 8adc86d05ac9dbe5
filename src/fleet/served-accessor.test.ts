// Accessors of tables on servers: shows and clicks are those of the data, saves choose rows by them, and checkpoints keep them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openTables } from "../ps/saved/index.ts";
import { testServers } from "../ps/testing-servers.ts";
import { init } from "./job.ts";
import type { StrategyOptions } from "./strategy.ts";
import { data, folder, HEAP, model } from "./testing-served.ts";
import type { Trainer } from "./trainer.ts";

const accessor = { kind: "ctr", deltaScore: 0.05 } as const;

/** How often each feature of the data occurs, and in how many rows with a click: sorted, without the features. */
function countsOfData(epochs: number): number[][] {
  const counts = new Map<string, [number, number]>();
  for (const line of readFileSync(join(folder.path, "all.csv"), "utf8").trim().split("\n")) {
    const [label, , , a, b, c, tags] = line.split(",") as [string, ...string[]];
    const bag = tags === "" ? [] : tags!.split("|");
    for (const feature of [`a=${a}`, `b=${b}`, `c=${c}`, ...bag.map((tag) => `tags=${tag}`)]) {
      const [shows, clicks] = counts.get(feature) ?? [0, 0];
      counts.set(feature, [shows + epochs, clicks + epochs * Number(label)]);
    }
  }
  return sorted([...counts.values()]);
}

const sorted = (rows: number[][]): number[][] => rows.toSorted((x, y) => x[0]! - y[0]! || x[1]! - y[1]!);

/** Shows and clicks of all rows, as countsOfData. */
async function countsOf(trainer: Trainer): Promise<number[][]> {
  const { served } = await trainer.session(data.layout);
  const counts: number[][] = [];
  for await (const { rows, columns } of (await served!.state.table(0, true)).chunks()) {
    for (let row = 0; row < rows; row++) counts.push([columns[0]![row]!, columns[1]![row]!]);
  }
  return sorted(counts);
}

async function onServers<T>(
  count: number,
  strategy: StrategyOptions,
  use: (trainer: Trainer) => Promise<T>,
  threads = 1,
): Promise<T> {
  await using servers = await testServers(count);
  const job = await init({ threads, maxBytes: HEAP, servers: servers.addresses });
  try {
    return await use(job.trainer(model(), { strategy: { tables: { features: { accessor } }, ...strategy } }));
  } finally {
    await job.close();
  }
}

describe("shows and clicks are those of the data", () => {
  test.each([
    ["async", 2],
    ["sync", 2],
    ["half-async", 1],
  ] as const)("mode %s, %d threads", async (mode, threads) => {
    const counts = await onServers(
      2,
      { mode },
      async (trainer) => {
        await trainer.fit(data, { epochs: 2, progress: false });
        return await countsOf(trainer);
      },
      threads,
    );
    expect(counts).toEqual(countsOfData(2));
  });
});

test("saves choose rows by them, and checkpoints keep them", async () => {
  const place = (name: string): string => join(folder.path, `accessor-${name}`);
  const rowsOf = async (name: string): Promise<number> => {
    await using saved = await openTables(place(name));
    return saved.table().rows;
  };
  const few = { ...accessor, saveScore: 30 } as const;
  const before = await onServers(2, { tables: { features: { accessor: few } } }, async (trainer) => {
    await trainer.fit(data, { progress: false });
    for (const mode of ["all", "base", "delta"] as const) await trainer.save(place(mode), { parts: true, mode });
    await trainer.save(place("again"), { parts: true, mode: "delta" });
    await trainer.save(place("whole"));
    return await countsOf(trainer);
  });
  const worth = countsOfData(1).filter(([shows, clicks]) => 0.1 * (shows! - clicks!) + clicks! >= 30).length;
  expect(worth).toBeGreaterThan(1);
  expect(worth).toBeLessThan(before.length - 1);
  expect(await Promise.all(["all", "base", "delta", "again"].map(rowsOf))).toEqual([before.length, worth, worth, 0]);
  for (const name of ["all", "whole"]) {
    const after = await onServers(3, {}, async (trainer) => {
      await trainer.load(place(name));
      return await countsOf(trainer);
    });
    expect(after).toEqual(before);
  }
  const alone = await init({ threads: 1, maxBytes: HEAP });
  for (const name of ["all", "whole", "base"]) await alone.trainer(model()).load(place(name));
  await expect(alone.trainer(model()).load(place("delta"))).rejects.toThrow("is a delta");
  await alone.close();
});

test("what does not go together is refused by name", async () => {
  const call = (strategy: StrategyOptions, mode: "all" | "base" = "all"): Promise<void> =>
    onServers(1, strategy, async (trainer) => {
      await trainer.session(data.layout);
      await trainer.save(join(folder.path, "never"), { parts: true, mode });
    });
  await expect(call({ tables: { feature: {} } })).rejects.toThrow(
    'tables has "feature", which is no table of the model',
  );
  await expect(call({ tables: { features: {} } }, "base")).rejects.toThrow('mode "base" chooses rows by statistics');
  await expect(call({ tables: { features: { accessor: { kind: "ctr", clicks: 1 } as never } } })).rejects.toThrow(
    /strategy/,
  );
});
