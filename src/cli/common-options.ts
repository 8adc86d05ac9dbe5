// Options that several commands share.
import { Option } from "commander";
import { oneOf, wholeNumber } from "./usage.ts";

export const formats = ["criteo", "csv", "parquet"] as const;
export type Format = (typeof formats)[number];
const engines = ["auto", "onednn", "wasm"] as const;

export function engineOptions(): Option[] {
  return [
    new Option("--threads <n>", "trainer threads (default: one a core)").argParser(wholeNumber(1, 1024)),
    new Option(
      "--engine <name>",
      "auto, onednn or wasm; auto takes oneDNN where it is found (default: auto)",
    ).argParser((text) => oneOf("--engine", text, engines)),
  ];
}

/** How files are read where no run tells it, or otherwise than it tells. */
export function readingOptions(): Option[] {
  return [
    new Option("--format <name>", "criteo, csv or parquet (default: as in training)").argParser((text) =>
      oneOf("--format", text, formats),
    ),
    new Option("--schema <file>", "for checkpoints outside of a run: the schema of training"),
    new Option("--buckets <n>", "for checkpoints outside of a run: the buckets of training").argParser(
      wholeNumber(1, 0xffffffff),
    ),
  ];
}
