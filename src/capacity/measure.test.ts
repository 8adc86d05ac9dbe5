// Short measurements with the real parts, and the file that keeps them.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { constantsPath } from "./constants.ts";
import { loadConstants, measureConstants, storeConstants } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-capacity-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("everything is measured, and kept", async () => {
  const steps: string[] = [];
  const constants = await measureConstants({ seconds: 0.05, onStep: (what) => steps.push(what) });
  expect(steps).toHaveLength(3);
  const { pull, push, network, flops, distinct, merged } = constants;
  for (const value of [pull.rowNs, push.rowNs, ...Object.values(network), flops]) expect(value).toBeGreaterThan(0);
  for (const share of [distinct, merged]) {
    expect(share).toBeGreaterThan(0.05);
    expect(share).toBeLessThan(0.95);
  }
  const path = join(folder, "below", "capacity.json");
  expect(loadConstants(path)).toBeUndefined();
  storeConstants(constants, path);
  expect(loadConstants(path)).toEqual(constants);
  writeFileSync(path, '{"source": "other"}');
  expect(loadConstants(path)).toBeUndefined();
}, 180_000);

test("the file lies in the user's cache folder", () => {
  expect(constantsPath({ XDG_CACHE_HOME: "/x" })).toBe("/x/flotilla/capacity.json");
  expect(constantsPath({ HOME: "/home/a" })).toBe("/home/a/.cache/flotilla/capacity.json");
});
