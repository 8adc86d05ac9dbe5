// A training run of servers and workers of which some are killed: it ends, and nothing that was acknowledged is lost.
import { afterAll, expect, test } from "vitest";
import { LaunchPlace } from "../src/cli/testing-launch.ts";
import { trainUnderKills, writeClicks } from "./ps-kill.ts";

const place = new LaunchPlace();
afterAll(() => place.dispose());

test("two kills", async () => {
  await writeClicks(place, 3000);
  const run = await trainUnderKills({ place, name: "two", kills: 2, passes: 2, seed: 1 });
  expect([run.code, run.kills.servers + run.kills.workers], run.stderr).toEqual([0, 2]);
  for (const { key, counted, expected } of run.counts) {
    expect(Math.round(counted), `key ${key} of ${run.passes} passes`).toBeGreaterThanOrEqual(expected);
  }
}, 120_000);
