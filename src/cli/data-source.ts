// From file names and options to datasets: formats told by name and content, schemas read from JSON files.
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { relative, resolve } from "node:path";
import { gunzipSync, constants as zlib } from "node:zlib";
import { type CsvOptions, csv, Dataset, expandPatterns, type FileSpec, inspect, splitLine } from "../data/index.ts";
import type { Format } from "./common-options.ts";
import { UsageError } from "./usage.ts";

/** What is said about data beside its files. */
export interface DataOptions {
  readonly format?: Format;
  /** A JSON file: a schema, or the options of CSV data with the schema in `schema`. */
  readonly schema?: string;
  readonly batch?: number;
  readonly buckets?: number;
  readonly readers?: number;
  readonly order?: "fast" | "file";
  readonly shuffle?: number;
  readonly onBadLine?: "fail" | "skip";
}

/** @throws UsageError when the format cannot be told or a schema is missing */
export function datasetOf(patterns: readonly string[], options: DataOptions): Dataset {
  const { format: given, schema: schemaFile, onBadLine, ...common } = options;
  const first = expandPatterns(patterns)[0]!;
  const format = given ?? detectFormat(first, schemaFile !== undefined);
  const declared = schemaFile === undefined ? undefined : readSchema(schemaFile);
  const absolute = patterns.map((pattern) => resolve(pattern));
  const text = onBadLine === undefined ? {} : { onBadLine };
  const base = { format, patterns: absolute, ...withoutUndefined(common) };
  switch (format) {
    case "criteo":
      if (declared !== undefined) throw new UsageError("--schema is for CSV and Parquet; Criteo rows need none");
      return Dataset.from({ ...base, ...text });
    case "csv":
      return Dataset.from({ ...delimiterOf(first), ...(declared ?? missingSchema(first, format)), ...base, ...text });
    case "parquet": {
      if (onBadLine !== undefined) throw new UsageError("--on-bad-line is for text; a Parquet file has no lines");
      const { schema } = declared ?? missingSchema(first, format);
      return Dataset.from({ ...base, schema });
    }
    default:
      return format satisfies never;
  }
}

/**
 * Other files read as the files of `spec` were: same schema, buckets and batch, all rows; bad lines fail. Data with a
 * schema may be CSV or Parquet, whichever `spec` was.
 */
export function sameKindOfData(spec: FileSpec, patterns: readonly string[], changes: DataOptions = {}): Dataset {
  const { where: _where, shard: _shard, shuffle: _shuffle, ...same } = spec;
  const { onBadLine: _onBadLine, ...kept } = { onBadLine: "fail", ...same };
  const { format: given, ...reading } = withoutUndefined(changes);
  const first = expandPatterns(patterns)[0]!;
  const format = given ?? (spec.format === "criteo" ? "criteo" : detectFormat(first, true));
  const files = { ...reading, patterns: patterns.map((pattern) => resolve(pattern)) };
  if (format === spec.format) return Dataset.from({ ...kept, ...files });
  if (format === "criteo" || spec.format === "criteo") {
    throw new UsageError(`the model was trained on ${spec.format} data; it cannot read ${format} data`);
  }
  const { schema, batch, buckets } = spec;
  const options = { schema, batch, ...withoutUndefined({ buckets }), ...files };
  return Dataset.from({ format, ...(format === "csv" ? delimiterOf(first) : {}), ...options });
}

/** Tells the format by the file's name and first line. */
export function detectFormat(path: string, hasSchema: boolean): Format {
  const name = path.toLowerCase().replace(/\.gz$/, "");
  const head = headOf(path);
  if (head.subarray(0, 4).toString("latin1") === "PAR1") return "parquet";
  if (name.endsWith(".csv") || hasSchema) return "csv";
  if (name.endsWith(".parquet"))
    throw new UsageError(`${path} is no Parquet file, whatever its name: it does not start with PAR1`);
  const line = firstLine(head);
  const fields = line.split("\t").length;
  if (isCriteoWidth(fields)) return "criteo";
  if (fields === 1 && line.includes(",")) return "csv";
  if (head.length === 0) throw new UsageError(`${path} is empty`);
  throw new UsageError(
    `${shown(path)}: cannot tell its format: the first line has ${fields} tab-separated fields, Criteo has 40\n` +
      "say --format csv with a --schema FILE.json for other text, or --format criteo to see what is wrong with the line",
  );
}

/** @throws UsageError when rows have no labels */
export function requireLabels({ fileSpec: spec }: Dataset): void {
  if (spec.format !== "criteo") {
    if (spec.schema.label !== undefined) return;
    throw new UsageError('--schema: labels are needed, as in "label": { "column": "clicked" }');
  }
  const bare = expandPatterns(spec.patterns).find(isUnlabelled);
  if (bare === undefined) return;
  throw new UsageError(`${shown(bare)} has no labels: its first line has 39 fields, with a label there would be 40`);
}

/** Whether a Criteo file starts with a line without label. */
const isUnlabelled = (path: string): boolean => firstLine(headOf(path)).split("\t").length === UNLABELLED;

/**
 * All rows of a file in their order, with or without labels. A line that cannot be parsed ends the reading: a prediction
 * would be missing.
 */
export function unlabelled({ fileSpec: spec }: Dataset, path: string): Dataset {
  const { shuffle: _, ...kept } = spec;
  const common = { ...kept, where: [], order: "file" } as const;
  if (common.format === "criteo") {
    return Dataset.from({ ...common, onBadLine: "fail", labels: !isUnlabelled(path) });
  }
  const { label, ...schema } = common.schema;
  if (common.format === "parquet") return Dataset.from({ ...common, schema });
  // With a header, a missing label is no matter; without one, it shifts the columns.
  const others = common.columns?.filter((name) => name !== label?.column);
  const first = splitLine(firstLine(headOf(path), common.skipLines), common).length;
  const columns = others !== undefined && first === others.length ? { columns: others } : {};
  return Dataset.from({ ...common, onBadLine: "fail", schema, ...columns });
}

const UNLABELLED = 39;
const isCriteoWidth = (fields: number): boolean => fields === UNLABELLED || fields === UNLABELLED + 1;
const HEAD_BYTES = 64 * 1024;

/** The first bytes, uncompressed. */
function headOf(path: string): Buffer {
  const fd = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(HEAD_BYTES);
    const head = buffer.subarray(0, readSync(fd, buffer, 0, HEAD_BYTES, 0));
    return head[0] === 0x1f && head[1] === 0x8b ? gunzipSync(head, { finishFlush: zlib.Z_SYNC_FLUSH }) : head;
  } finally {
    closeSync(fd);
  }
}

/** The first line that is not blank, after lines to pass over. */
function firstLine(head: Buffer, skipLines = 0): string {
  const lines = head.toString("latin1").split("\n").slice(skipLines);
  return (lines.find((line) => line !== "" && line !== "\r") ?? "").replace(/\r$/, "");
}

/** Columns of .tsv files are parted by tabs unless the schema file says otherwise. */
function delimiterOf(path: string): { delimiter?: string } {
  return /\.(tsv|tab)(\.gz)?$/i.test(path) ? { delimiter: "\t" } : {};
}

/** How data is read without naming any: for features as they stand on the command line. Undefined where nothing says it. */
export function specOf({ format, schema, buckets }: DataOptions): FileSpec | undefined {
  const base = { patterns: "none", ...withoutUndefined({ buckets }) };
  if (schema !== undefined) {
    const kind = format === "parquet" ? "parquet" : "csv";
    return Dataset.from({ format: kind, ...base, schema: readSchema(schema).schema }).fileSpec;
  }
  return format === "criteo" ? Dataset.from({ format, ...base }).fileSpec : undefined;
}

/** The options of CSV data that a file declares; a bare schema stands for its options. */
function readSchema(path: string): CsvOptions {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UsageError(`--schema: ${code === "ENOENT" ? `there is no file ${path}` : `${path}: ${message}`}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    const example = JSON.stringify(draftSchema(["label", "user"]));
    throw new UsageError(`--schema: ${path} must hold a JSON object such as ${example}`);
  }
  const options = ("schema" in value ? value : { schema: value }) as CsvOptions;
  try {
    csv("unused", options);
  } catch (error) {
    throw new UsageError(`--schema: ${path}: ${(error as Error).message.replace("data.csv: ", "")}`);
  }
  return options;
}

function missingSchema(path: string, format: "csv" | "parquet"): never {
  const probe = format === "csv" ? { ...delimiterOf(path), schema: {} } : { schema: {} };
  const { columns } = inspect(path, Dataset.from({ format, patterns: path, ...probe }).fileSpec);
  throw new UsageError(
    `${format === "csv" ? "CSV" : "Parquet"} data needs a schema that says what its columns mean: --schema FILE.json\n` +
      `columns of ${shown(path)}${format === "csv" ? ", by its first line" : ""}: ${columns.join(", ")}\n` +
      `a schema to start from: ${JSON.stringify(draftSchema(columns))}`,
  );
}

/** A first guess: a column with a label's name, the others as categories. */
function draftSchema(columns: readonly string[]): object {
  const label = columns.find((name) => /^(label|click(ed)?|target|y)$/i.test(name)) ?? columns[0] ?? "label";
  return { label: { column: label }, categorical: columns.filter((name) => name !== label), dense: [] };
}

/** A path as the user would write it. */
export function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short === "" || short.startsWith("..") ? path : short;
}

/** Without the keys whose value is undefined. */
export function withoutUndefined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as T;
}
