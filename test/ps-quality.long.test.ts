// Through parameter servers every mode learns what mode sync does: real clicks, and flights as in the demo.
import { expect, test } from "vitest";
import { psQuality } from "../bench/lib/ps-quality.ts";
import { sharedData } from "../bench/lib/real-data.ts";

const names = ["flights", ...(sharedData() === undefined ? [] : (["movielens", "criteo"] as const))] as const;

test.each(names)("%s", async (name) => {
  const { goals } = await psQuality(name, false);
  expect(goals).toHaveLength(3);
  for (const { name: what, met, value } of goals) expect(met, `${what}: ${value}`).toBe(true);
});
