// The real click-like data sets as the peers take them, read without flotilla's own readers so that those are checked as
// well: ids learnt from the training rows alone, numbers standardised by them, rows in the order of the files.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { zstdDecompressSync } from "node:zlib";
import { asyncBufferFromFile, parquetRead } from "hyparquet";
import type { ClickRows } from "./tensor-file.ts";
import { Vocabulary } from "./vocabulary.ts";

/** (x − mean) / scale */
export interface Standard {
  readonly mean: number;
  readonly scale: number;
}

export interface RealData {
  readonly train: ClickRows;
  readonly test: ClickRows;
  /** Ids lie in 0 … vocabulary − 1. */
  readonly vocabulary: number;
  /** How each number was standardised; none where numbers went through ln(1 + max(x, 0)). */
  readonly standards: readonly Standard[];
  /** Of MovieLens: the first time of the held-out rows. */
  readonly splitTime?: number;
}

export const realDataNames = ["flights", "criteo", "census", "movielens"] as const;
export type RealDataName = (typeof realDataNames)[number];

/** Minutes of delay above which a flight counts as late. */
const LATE = 15;

/** Columns of all rows, the first `trainRows` of which are for training. */
interface Columns {
  readonly trainRows: number;
  readonly label: ArrayLike<number>;
  readonly categorical: readonly ArrayLike<string | number>[];
  readonly numeric: readonly ArrayLike<number>[];
  readonly transform: "standard" | "log";
  readonly splitTime?: number;
}

const repository = join(dirname(fileURLToPath(import.meta.url)), "../..");

export const flightsFile = join(repository, "node_modules/vega-datasets/data/flights-3m.parquet");

/** The folder of shared data sets, or undefined where this machine has none. */
export function sharedData(): string | undefined {
  const folder = process.env.FLOTILLA_SHARED_DATA ?? join(repository, "../shared/data");
  return existsSync(folder) ? folder : undefined;
}

/**
 * Reads and encodes a data set.
 *
 * @throws Error when the shared data folder, which all but the flights need, is missing.
 */
export async function realData(name: RealDataName): Promise<RealData> {
  if (name === "flights") return encode(await flights());
  const folder = sharedData();
  if (folder === undefined) throw new Error("no folder ../shared/data, and FLOTILLA_SHARED_DATA names none");
  const readers = { criteo, census, movielens };
  return encode(readers[name](join(folder, name)));
}

function encode({ trainRows, categorical, numeric, label, transform, splitTime }: Columns): RealData {
  const vocabulary = new Vocabulary(categorical.length);
  vocabulary.learn(categorical, trainRows);
  const standards = transform === "standard" ? numeric.map((column) => standardOf(column, trainRows)) : [];
  const part = (begin: number, end: number): ClickRows => {
    const rows = end - begin;
    const dense = new Float32Array(rows * numeric.length);
    numeric.forEach((column, number) => {
      const { mean, scale } = standards[number] ?? { mean: 0, scale: 1 };
      for (let row = begin; row < end; row++) {
        const value = column[row]!;
        const transformed = transform === "log" ? Math.log1p(Math.max(value, 0)) : (value - mean) / scale;
        dense[(row - begin) * numeric.length + number] = transformed;
      }
    });
    return {
      rows,
      fields: categorical.length,
      numbers: numeric.length,
      ids: vocabulary.encode(categorical, begin, end),
      dense,
      label: Float32Array.from({ length: rows }, (_, row) => label[begin + row]!),
    };
  };
  return {
    train: part(0, trainRows),
    test: part(trainRows, label.length),
    vocabulary: vocabulary.size,
    standards,
    ...(splitTime === undefined ? {} : { splitTime }),
  };
}

function standardOf(column: ArrayLike<number>, trainRows: number): Standard {
  let sum = 0;
  let squares = 0;
  for (let row = 0; row < trainRows; row++) {
    sum += column[row]!;
    squares += column[row]! ** 2;
  }
  const mean = sum / trainRows;
  return { mean, scale: Math.sqrt(squares / trainRows - mean * mean) || 1 };
}

/** Departures of the first half of 2001, late or not, by time; the last tenth is held out. The features are the demo's. */
async function flights(): Promise<Columns> {
  const file = await asyncBufferFromFile(flightsFile);
  const chunks: Record<string, { begin: number; values: ArrayLike<unknown> }[]> = {};
  await parquetRead({
    file,
    compressors: { ZSTD: (input) => zstdDecompressSync(input) },
    onChunk: ({ columnName, rowStart, columnData }) => {
      chunks[columnName] ??= [];
      chunks[columnName].push({ begin: rowStart, values: columnData });
    },
  });
  const column = (name: string): unknown[] =>
    chunks[name]!.sort((a, b) => a.begin - b.begin).flatMap((chunk) => Array.from(chunk.values));
  const dates = column("date").map((time) => new Date(Number(time)));
  const [hour, weekday] = [dates.map((date) => date.getUTCHours()), dates.map((date) => date.getUTCDay())];
  const [from, to] = [column("origin") as string[], column("destination") as string[]];
  const cross = (a: readonly unknown[], b: readonly unknown[]): string[] => a.map((value, row) => `${value}@${b[row]}`);
  return {
    trainRows: Math.floor(dates.length * 0.9),
    label: column("delay").map((delay) => (Number(delay) > LATE ? 1 : 0)),
    categorical: [
      ...[hour, weekday, dates.map((date) => date.getUTCMonth()), from, to],
      ...[cross(from, to), cross(from, hour), cross(to, hour)],
      ...[cross(weekday, hour), cross(from, weekday), cross(to, weekday)],
    ],
    numeric: [column("distance").map(Number)],
    transform: "standard",
  };
}

function lines(path: string, separator: string): string[][] {
  const text = readFileSync(path, "utf8");
  return text.split("\n").flatMap((line) => (line ? [line.split(separator)] : []));
}

/** The column of `rows` at an index. */
function at(rows: readonly string[][], index: number): string[] {
  return rows.map((row) => row[index]!);
}

function criteo(folder: string): Columns {
  const train = lines(join(folder, "train.tsv"), "\t");
  const rows = [...train, ...lines(join(folder, "test.tsv"), "\t")];
  return {
    trainRows: train.length,
    label: at(rows, 0).map(Number),
    numeric: Array.from({ length: 13 }, (_, i) => at(rows, 1 + i).map(Number)),
    categorical: Array.from({ length: 26 }, (_, i) => at(rows, 14 + i)),
    transform: "log",
  };
}

function census(folder: string): Columns {
  const read = (name: string): string[][] => lines(join(folder, name), ", ").filter((row) => row.length === 15);
  const train = read("adult.data");
  const rows = [...train, ...read("adult.test")];
  return {
    trainRows: train.length,
    label: at(rows, 14).map((value) => (value.startsWith(">50K") ? 1 : 0)),
    numeric: [0, 2, 4, 10, 11, 12].map((i) => at(rows, i).map(Number)),
    categorical: [1, 3, 5, 6, 7, 8, 9, 13].map((i) => at(rows, i)),
    transform: "standard",
  };
}

/** A rating of 4 or more is a click; the last fifth by time is held out. */
function movielens(folder: string): Columns {
  // Three rows are not separated by tabs.
  const ratings = lines(join(folder, "u.data"), "\t").filter((row) => row.length === 4);
  const times = at(ratings, 3).map(Number);
  const splitTime = times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.8)]!;
  const train = ratings.filter((_, row) => times[row]! < splitTime);
  const rows = [...train, ...ratings.filter((_, row) => times[row]! >= splitTime)];
  return {
    trainRows: train.length,
    label: at(rows, 2).map((rating) => (Number(rating) >= 4 ? 1 : 0)),
    numeric: [],
    categorical: [at(rows, 0), at(rows, 1)],
    transform: "log",
    splitTime,
  };
}
