// A server killed at random moments: nothing acknowledged is lost, nothing is applied twice.
import { expect, test } from "vitest";
import { countUnderKills } from "./testing-kills.ts";

test.each([
  ["unix", "async", 50],
  ["tcp", "sync", 50],
] as const)(
  "over %s, mode %s: %d kills, and every push counts once",
  async (protocol, mode, kills) => {
    const { expected, steps, rows, dense, journals } = await countUnderKills({ protocol, mode, kills, between: 60 });
    expect(steps).toBe(expected);
    expect([...rows, ...dense]).toEqual(Array(10).fill(expected));
    // Snapshots cut the journal.
    expect(journals).toBeLessThan(2 * kills + 4);
  },
  1_800_000,
);
