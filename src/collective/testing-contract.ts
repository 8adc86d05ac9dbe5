// For tests: what every transport must do, with real threads or processes for ranks.
import { describe, expect, test } from "vitest";
import { allCalls, type CaseResult } from "./testing-scenarios.ts";

export type Outcome =
  | { readonly result: unknown }
  | { readonly error: { readonly name: string; readonly message: string; readonly rank?: number } }
  | { readonly died: true };

export interface RankOptions {
  readonly stallMs?: number;
}

/** Runs a scenario on `size` ranks; one outcome a rank. */
export type RunRanks = (
  size: number,
  scenario: string,
  parameters?: Readonly<Record<string, unknown>>,
  options?: RankOptions,
) => Promise<Outcome[]>;

export interface ContractOptions {
  readonly sizes: readonly number[];
  /** False where the launcher ends all ranks with the first that dies. */
  readonly deaths?: boolean;
}

const resultOf = (outcome: Outcome): unknown => {
  if ("result" in outcome) return outcome.result;
  throw new Error("error" in outcome ? outcome.error.message : "the rank died");
};
const errorOf = (outcome: Outcome): { name: string; message: string; rank?: number } => {
  if ("error" in outcome) return outcome.error;
  throw new Error(`no error but ${JSON.stringify(outcome)}`);
};

/** Half precision rounds each contribution on its way to relative 2^-9 (bf16) or 2^-12; sums of 8 stay below 8. */
const tolerance = (what: string): number => (what.includes("bf16") ? 0.12 : what.includes('"f16"') ? 0.02 : 2e-6);

export function transportContract(name: string, run: RunRanks, { sizes, deaths = true }: ContractOptions): void {
  describe(`${name} transport`, () => {
    test.each(sizes)("all collectives and algorithms, %i ranks: right, and the same bits everywhere", async (size) => {
      const outcomes = await run(size, "calls", { calls: allCalls(size) });
      const results = outcomes.map((outcome) => resultOf(outcome) as CaseResult[]);
      for (const [i, first] of results[0]!.entries()) {
        for (const rank of results) {
          expect(rank[i]!.error, rank[i]!.what).toBeLessThanOrEqual(tolerance(first.what));
          expect(rank[i]!.hash, rank[i]!.what).toBe(first.hash);
        }
      }
    });

    test("a prepared call repeats, with barriers between", async () => {
      expect((await run(3, "repeats", { count: 5000, times: 50 })).map(resultOf)).toEqual([true, true, true]);
    });

    test("bytes of other types", async () => {
      expect((await run(2, "moves")).map(resultOf)).toEqual([true, true]);
    });

    test.each([
      ["lengths", { count: 999 }, /all-reduce "weights" \(1000 f32, sum.*all-reduce "weights" \(999 f32/],
      ["names", { name: "bias" }, /"weights".*"bias"|"bias".*"weights"/],
    ])("different %s are refused on all ranks, and both are shown", async (_, odd, message) => {
      const errors = (await run(3, "mismatch", { odd })).map(errorOf);
      const mismatches = errors.filter(({ name: kind }) => kind === "MismatchError");
      expect(mismatches.length).toBeGreaterThan(0);
      for (const { message: text } of errors) expect(text).toMatch(/rank [012]/);
      const said = mismatches.map(({ message: text }) => text).join("\n");
      expect(said.split("\n").some((line) => message.test(line) || message.test(swapped(line)))).toBe(true);
    });

    test.runIf(deaths)("a rank that dies is named by all others", async () => {
      const outcomes = await run(4, "death", { who: 2 });
      expect(outcomes[2]).toEqual({ died: true });
      for (const rank of [0, 1, 3]) {
        const { name: kind, message, rank: culprit } = errorOf(outcomes[rank]!);
        expect([kind, culprit]).toEqual(["PeerError", 2]);
        expect(message).toMatch(/all-reduce "layer \d+".*rank 2 /);
      }
    });

    test("a rank that closes early is named by who still waits for it", async () => {
      const outcomes = await run(2, "leaves", { who: 1 });
      expect(resultOf(outcomes[1]!)).toBe("left");
      expect(errorOf(outcomes[0]!).message).toMatch(/all-reduce "lonely".*rank 1 left the group/);
    });

    test("a rank that stalls is named with the tensor", async () => {
      const outcomes = await run(2, "stall", { who: 1, sleepMs: 2500 }, { stallMs: 400 });
      const { name: kind, rank, message } = errorOf(outcomes[0]!);
      expect([kind, rank]).toEqual(["StallError", 1]);
      expect(message).toMatch(/all-reduce "embedding".*rank 1 for 0.4 s/);
      if (deaths) expect(errorOf(outcomes[1]!).message).toMatch(/rank 1/);
    });
  });
}

/** The two sides of a mismatch in the other order. */
const swapped = (line: string): string =>
  line.replace(/is (.*), call \d+ of rank \d+ is (.*);/, "is $2, call of rank is $1;");
