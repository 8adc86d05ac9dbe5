// Where partitions save their parts of a model: a folder for each beside the others, and which of them have what.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { CheckpointError } from "../checkpoint/index.ts";

/** The folder of a partition's part. */
export function partFolder(folder: string, partition: number, partitions: number): string {
  const digits = (n: number): string => String(n).padStart(5, "0");
  return join(folder, `part-${digits(partition + 1)}-of-${digits(partitions)}`);
}

/**
 * The folders of all partitions, in their order; undefined where there are none.
 * @throws CheckpointError when some are missing, or of several saves
 */
export function partsIn(path: string): string[] | undefined {
  if (!existsSync(path)) return undefined;
  const found = readdirSync(path).flatMap((name) => {
    const match = /^part-(\d+)-of-(\d+)$/.exec(name);
    return match === null ? [] : [{ part: Number(match[1]), of: Number(match[2]) }];
  });
  if (found.length === 0) return undefined;
  const counts = [...new Set(found.map(({ of }) => of))].sort((a, b) => a - b);
  if (counts.length > 1) {
    throw new CheckpointError(
      path,
      `has parts of several saves, of ${counts.join(" and of ")} partitions; keep one save`,
    );
  }
  const partitions = counts[0]!;
  const all = Array.from({ length: partitions }, (_, i) => i);
  const missing = all.filter((i) => !found.some(({ part }) => part === i + 1)).map((i) => i + 1);
  if (missing.length > 0) {
    throw new CheckpointError(
      path,
      `lacks part ${missing.join(", ")} of ${partitions}; copy the parts that other servers saved into this folder`,
    );
  }
  return all.map((partition) => partFolder(path, partition, partitions));
}

const HASHES = 2n ** 32n;

/**
 * The first and the last of so many parts that have keys of a partition: parts are ranges of the keys' hashes, so that a
 * load at another number of partitions reads each part but for its borders once.
 */
export function partsWithKeysOf(
  { partition, partitions }: { readonly partition: number; readonly partitions: number },
  parts: number,
): { readonly first: number; readonly last: number } {
  const count = BigInt(partitions);
  const least = (own: number): bigint => (BigInt(own) * HASHES + count - 1n) / count;
  const partOf = (hash: bigint): number => Number((hash * BigInt(parts)) / HASHES);
  return { first: partOf(least(partition)), last: partOf(least(partition + 1) - 1n) };
}
