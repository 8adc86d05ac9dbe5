// How fast one core is at what a job consists of. Defaults are measurements with their provenance; `flotilla plan --measure`
// makes them for the machine at hand and keeps them in the user's cache folder.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { z } from "zod";

const positive = z.number().positive();
/** Nanoseconds of a core for a row of a partition: those of any row, and those of each number in it. */
const rowCost = z.strictObject({ rowNs: positive, numberNs: z.number().nonnegative() });

const constantsSchema = z.strictObject({
  /** Machine and day. */
  source: z.string(),
  pull: rowCost,
  push: rowCost,
  /** Bytes a second of remote calls that a core handles at one end. */
  network: z.strictObject({ unix: positive, tcp: positive, tls: positive }),
  /** Floating-point operations a second of a core in whole training steps of a DeepFM, reading included. */
  flops: positive,
  /** Of the ids of a batch of 512 rows the share that is distinct, and of these the share that is left when 8 merge. */
  distinct: positive.max(1),
  merged: positive.max(1),
});
export type Constants = z.infer<typeof constantsSchema>;

/** Medians of four measurements, on a core that had nothing else to do; `unix` of a later one, on Zen 5. */
export const defaultConstants: Constants = {
  source: "AMD EPYC (Zen 4), a virtual machine of 2 cores, 2026-11-28",
  pull: { rowNs: 105, numberNs: 3.5 },
  push: { rowNs: 36, numberNs: 1.8 },
  network: { unix: 1.2e9, tcp: 4.9e8, tls: 3.9e8 },
  flops: 1.1e11,
  distinct: 0.348,
  merged: 0.613,
};

/** $XDG_CACHE_HOME/flotilla/capacity.json, by default in ~/.cache. */
export const constantsPath = (env: NodeJS.ProcessEnv = process.env): string =>
  join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), ".cache"), "flotilla", "capacity.json");

/** What was measured on this machine, or undefined. A file that cannot be read counts as none. */
export function loadConstants(path: string = constantsPath()): Constants | undefined {
  try {
    return constantsSchema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return undefined;
  }
}

export function storeConstants(constants: Constants, path: string = constantsPath()): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(constants, null, 2)}\n`);
}
