// Fifty kills of servers and workers during one training run: it ends, nothing that was acknowledged is lost, and the model
// is as good as that of an undisturbed run.
import { afterAll, expect, test } from "vitest";
import { LaunchPlace } from "../src/cli/testing-launch.ts";
import { trainUnderKills, writeClicks } from "./ps-kill.ts";

const KILLS = 50;
const place = new LaunchPlace();
afterAll(() => place.dispose());

test("fifty kills", async () => {
  await writeClicks(place, 80_000);
  const run = await trainUnderKills({ place, name: "fifty", kills: KILLS, passes: 2, seed: 5 });
  expect([run.code, run.kills.servers + run.kills.workers], run.stderr).toEqual([0, KILLS]);
  expect(Math.min(run.kills.servers, run.kills.workers)).toBeGreaterThan(10);
  for (const { key, counted, expected } of run.counts) {
    expect(Math.round(counted), `key ${key} of ${run.passes} passes`).toBeGreaterThanOrEqual(expected);
  }
  const undisturbed = await trainUnderKills({ place, name: "quiet", kills: 0, passes: run.passes, seed: 5 });
  for (const { key, counted, expected } of undisturbed.counts) {
    expect(Math.round(counted), `key ${key}`).toBe(expected);
  }
  // What died was trained on again, so there is so much data that further passes teach little.
  expect(Math.abs(run.auc - undisturbed.auc), `${run.auc} and ${undisturbed.auc}`).toBeLessThan(0.002);
});
