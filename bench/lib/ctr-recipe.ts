// What all systems of the CTR benchmark have in common: the model, the data, and how one is timed.

import { linkSync, rmSync } from "node:fs";
import { clickData, everyId, vocabulary, writeCriteo } from "./click-data.ts";
import { scratchFile } from "./paths.ts";
import { writeClickRows } from "./tensor-file.ts";

export const recipe = {
  fields: 26,
  numbers: 13,
  dim: 16,
  hidden: [400, 400, 400],
  batch: 512,
  learningRate: 0.01,
  vocabulary,
} as const;

const NAMES = 40;

/** The same rows for both sides: Criteo text for flotilla, tensors for PyTorch. */
export interface CtrFiles {
  readonly criteo: string;
  readonly tensors: string;
  /** Log loss of the model that made the labels. */
  readonly bestLogLoss: number;
}

export function writeCtrFiles(name: string, rows: number, seed: number): CtrFiles {
  const clicks = clickData(rows, seed);
  const [criteo, tensors] = [scratchFile(`ctr-${name}.tsv`), scratchFile(`ctr-${name}.bin`)];
  writeCriteo(criteo, clicks);
  writeClickRows(tensors, clicks);
  return { criteo, tensors, bestLogLoss: clicks.bestLogLoss };
}

/** Names of one file, so that an epoch over all of them is long and its start and end do not count. */
export function manyNames(path: string): string[] {
  return Array.from({ length: NAMES }, (_, i) => {
    const name = `${path}.${i}`;
    rmSync(name, { force: true });
    linkSync(path, name);
    return name;
  });
}

/** A Criteo file that brings every id of the vocabulary into a table. */
export function writeEveryId(): string {
  const path = scratchFile("ctr-every-id.tsv");
  writeCriteo(path, everyId());
  return path;
}

/** Floating-point operations that the matrix products of a training step need for each sample. */
export function flopsPerSample(): number {
  const { fields, dim, numbers, hidden } = recipe;
  const widths = [fields * dim + numbers, ...hidden, 1];
  const forward = widths.slice(1).reduce((sum, width, layer) => sum + 2 * width * widths[layer]!, 0) + 2 * numbers;
  // The gradient of the weights costs as much as the forward pass; that of the inputs is not needed for numbers.
  const inputGradient = forward - 2 * numbers * widths[1]! - 2 * numbers;
  return 2 * forward + inputGradient;
}

/** What a timed stretch of training gave. */
export interface Window {
  readonly samplesPerSecond: number;
  /** Processor time per time, summed over threads: below their number when the machine was busy with something else. */
  readonly cpu: number;
}

/** Trains for a while when asked and sleeps in between, so that systems can take turns. */
export interface System {
  readonly name: string;
  readonly threads: number;
  window(seconds: number): Promise<Window>;
  close(): Promise<void>;
}
