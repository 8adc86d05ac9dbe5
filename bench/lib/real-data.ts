// The real click-like data sets, split and encoded for the peers: training rows first in time where the data has a time,
// ids learnt from the training rows alone, numbers standardised by them.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { zstdDecompressSync } from "node:zlib";
import { asyncBufferFromFile, parquetRead } from "hyparquet";
import type { ClickRows } from "./tensor-file.ts";
import { Vocabulary } from "./vocabulary.ts";

export interface RealData {
  readonly name: string;
  readonly train: ClickRows;
  readonly test: ClickRows;
  /** Ids lie in 0 … vocabulary − 1. */
  readonly vocabulary: number;
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
}

const repository = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** The folder of shared data sets, or undefined where this machine has none. */
export function sharedData(): string | undefined {
  const folder = process.env.FLOTILLA_SHARED_DATA ?? join(repository, "../shared/data");
  return existsSync(folder) ? folder : undefined;
}

/**
 * Reads and encodes a data set.
 *
 * @throws Error when the shared data folder is missing (all but flights).
 */
export async function realData(name: RealDataName, minCount = 1): Promise<RealData> {
  if (name === "flights") return encode(name, await flights(), minCount);
  const folder = sharedData();
  if (!folder) throw new Error(`${name}: no folder ../shared/data and FLOTILLA_SHARED_DATA is not set`);
  const readers = { criteo, census, movielens };
  return encode(name, readers[name](join(folder, name)), minCount);
}

function encode(name: string, columns: Columns, minCount: number): RealData {
  const { trainRows, categorical, numeric, label } = columns;
  const vocabulary = new Vocabulary(categorical.length);
  vocabulary.learn(categorical, 0, trainRows, minCount);
  const scaled = numeric.map((column) => standardise(column, trainRows));
  const part = (begin: number, end: number): ClickRows => {
    const rows = end - begin;
    const dense = new Float32Array(rows * scaled.length);
    scaled.forEach((column, number) => {
      for (let row = begin; row < end; row++) dense[(row - begin) * scaled.length + number] = column[row]!;
    });
    return {
      rows,
      fields: categorical.length,
      numbers: scaled.length,
      ids: vocabulary.encode(categorical, begin, end),
      dense,
      label: Float32Array.from({ length: rows }, (_, row) => label[begin + row]!),
    };
  };
  const train = part(0, trainRows);
  return { name, train, test: part(trainRows, label.length), vocabulary: vocabulary.size };
}

/** To mean 0 and variance 1 over the training rows. */
function standardise(column: ArrayLike<number>, trainRows: number): Float32Array {
  let sum = 0;
  let squares = 0;
  for (let row = 0; row < trainRows; row++) {
    sum += column[row]!;
    squares += column[row]! ** 2;
  }
  const mean = sum / trainRows;
  const deviation = Math.sqrt(squares / trainRows - mean * mean) || 1;
  return Float32Array.from(column, (value) => (value - mean) / deviation);
}

/** Departures of the first half of 2001, late or not; the last tenth by time is held out. */
async function flights(): Promise<Columns> {
  const path = join(repository, "node_modules/vega-datasets/data/flights-3m.parquet");
  const file = await asyncBufferFromFile(path);
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
  const time = Float64Array.from(column("date"), Number);
  const order = Uint32Array.from(time.keys()).sort((a, b) => time[a]! - time[b]! || a - b);
  const sorted = <T>(values: readonly T[]): T[] => Array.from(order, (row) => values[row]!);
  const dates = Array.from(order, (row) => new Date(time[row]!));
  const hour = dates.map((date) => date.getUTCHours());
  const origin = sorted(column("origin") as string[]);
  const destination = sorted(column("destination") as string[]);
  return {
    trainRows: Math.floor(order.length * 0.9),
    label: sorted(column("delay")).map((delay) => (Number(delay) > LATE ? 1 : 0)),
    categorical: [
      hour,
      dates.map((date) => date.getUTCDay()),
      dates.map((date) => date.getUTCMonth()),
      origin,
      destination,
      origin.map((from, row) => `${from}-${destination[row]}`),
      origin.map((from, row) => `${from}@${hour[row]}`),
      destination.map((to, row) => `${to}@${hour[row]}`),
    ],
    numeric: [sorted(column("distance")).map((distance) => Math.log1p(Number(distance)))],
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
    numeric: Array.from({ length: 13 }, (_, i) =>
      at(rows, 1 + i).map((value) => Math.log1p(Math.max(Number(value), 0))),
    ),
    categorical: Array.from({ length: 26 }, (_, i) => at(rows, 14 + i)),
  };
}

function census(folder: string): Columns {
  const read = (name: string): string[][] => lines(join(folder, name), ", ").filter((row) => row.length === 15);
  const train = read("adult.data");
  const rows = [...train, ...read("adult.test")];
  const numeric = [0, 2, 4, 10, 11, 12];
  return {
    trainRows: train.length,
    label: at(rows, 14).map((value) => (value.startsWith(">50K") ? 1 : 0)),
    numeric: numeric.map((i) => at(rows, i).map((value) => Math.log1p(Number(value)))),
    categorical: [1, 3, 5, 6, 7, 8, 9, 13].map((i) => at(rows, i)),
  };
}

/** A rating of 4 or more is a click; the last fifth by time is held out. */
function movielens(folder: string): Columns {
  const users = new Map(lines(join(folder, "u.user"), "|").map((row) => [row[0]!, row]));
  const ratings = lines(join(folder, "u.data"), "\t").sort((a, b) => Number(a[3]) - Number(b[3]));
  const user = (column: number): string[] => ratings.map((row) => users.get(row[0]!)?.[column] ?? "");
  return {
    trainRows: Math.floor(ratings.length * 0.8),
    label: ratings.map((row) => (Number(row[2]) >= 4 ? 1 : 0)),
    numeric: [],
    categorical: [at(ratings, 0), at(ratings, 1), user(1), user(2), user(3)],
  };
}
