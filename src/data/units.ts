// Cutting files into pieces that readers claim one after the other: sharded over workers, shuffled by a seed.
import { DataError } from "./errors.ts";
import type { DataFile } from "./files.ts";
import type { FileRange } from "./ring.ts";
import type { DatasetSpec } from "./spec.ts";

const MOST_BYTES = 8 * 2 ** 20;
const LEAST_BYTES = 16 * 2 ** 10;
/** Pieces a worker should have at least, so that shares are even and shuffling mixes. */
const PIECES = 32;

/** The pieces that belong to the dataset's shard, in the order of reading. */
export function planUnits(files: readonly DataFile[], spec: DatasetSpec, seed: number | undefined): FileRange[] {
  const byRows = spec.format === "parquet" || spec.format === "tensors";
  const units = byRows ? rowUnits(files, spec) : textUnits(files, spec);
  return seed === undefined ? units : shuffled(units, seed);
}

/** Text is cut by bytes; pieces go to shards in turn. What cannot be entered in the middle stays whole. */
function textUnits(files: readonly DataFile[], spec: DatasetSpec): FileRange[] {
  const { rank, worldSize } = spec.shard;
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  const most = Math.min(MOST_BYTES, Math.max(LEAST_BYTES, Math.ceil(total / (worldSize * PIECES))));
  const pieces: FileRange[] = [];
  files.forEach((file, index) => {
    if (file.bytes === 0) return;
    const whole = file.gzip || (spec.format === "csv" && spec.multiline);
    if (whole) {
      requireNoFractions(file, spec);
      pieces.push({ file: index, start: file.start, end: file.end });
      return;
    }
    const { from, to } = rowFractions(file, spec);
    for (let start = from; start < to; start += most) {
      pieces.push({ file: index, start, end: Math.min(to, start + most) });
    }
  });
  return pieces.filter((_, i) => i % worldSize === rank);
}

/** A shard is one run of rows of each file, so that few row groups are decoded twice; a row group is a piece. */
function rowUnits(files: readonly DataFile[], spec: DatasetSpec): FileRange[] {
  const { rank, worldSize } = spec.shard;
  return files.flatMap((file, index) => {
    const { from, to } = rowFractions(file, spec);
    const rows = Math.max(0, to - from);
    const first = from + Math.floor((rows * rank) / worldSize);
    const last = from + Math.floor((rows * (rank + 1)) / worldSize);
    return file.rowGroups.flatMap((groupStart, group) => {
      const start = Math.max(first, groupStart);
      const end = Math.min(last, file.rowGroups[group + 1] ?? file.end);
      return start < end ? [{ file: index, start, end }] : [];
    });
  });
}

/** The part of a file's rows that every `rows` filter lets through; of text in bytes. */
export function rowFractions(file: DataFile, spec: DatasetSpec): { from: number; to: number } {
  let from = file.start;
  let to = file.end;
  const at = (fraction: number): number => file.start + Math.floor((file.end - file.start) * fraction);
  for (const filter of spec.where) {
    if (!("rows" in filter)) continue;
    from = Math.max(from, at(filter.rows.from));
    to = Math.min(to, at(filter.rows.to));
  }
  return { from, to };
}

function requireNoFractions(file: DataFile, spec: DatasetSpec): void {
  if (!spec.where.some((filter) => "rows" in filter)) return;
  const why = file.gzip ? "is compressed" : "may hold line breaks in fields";
  throw new DataError(`${why}, so where: { rows } cannot tell its part; filter by a column, or unpack it`, file.path);
}

/** Fisher–Yates with the splitmix32 generator. */
function shuffled(units: readonly FileRange[], seed: number): FileRange[] {
  const result = [...units];
  let state = seed >>> 0;
  for (let i = result.length - 1; i > 0; i--) {
    state = (state + 0x9e3779b9) >>> 0;
    let x = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    const j = Math.floor((((x ^ (x >>> 15)) >>> 0) / 2 ** 32) * (i + 1));
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}
