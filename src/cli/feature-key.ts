// Keys of rows as a user writes them: the number of an id, or a feature such as `site=ab12`, hashed as the reader does.
import { crossId, type FileSpec, featureId } from "../data/index.ts";
import { didYouMean, UsageError } from "./usage.ts";

type Categorical = Exclude<FileSpec, { format: "criteo" }>["schema"]["categorical"][number];
type Single = Exclude<Categorical, { cross: unknown }>;

const CRITEO_COLUMNS = Array.from({ length: 26 }, (_, i) => `C${i + 1}`);

/**
 * @param spec how the training data was read; undefined: nothing says it, and only numbers are understood
 * @throws UsageError that says what is allowed
 */
export function parseKey(text: string, spec: FileSpec | undefined): bigint {
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text)) {
    const key = BigInt(text);
    if (key > 0n && key < 2n ** 64n) return key;
    throw new UsageError(`key ${text}: ids lie between 1 and 2^64 - 1`);
  }
  const pairs = assignments(text);
  if (pairs === undefined) {
    throw new UsageError(`key ${JSON.stringify(text)} is neither a number nor a feature such as site=ab12`);
  }
  if (spec === undefined) {
    throw new UsageError(
      `key ${JSON.stringify(text)}: nothing says how features were read; name the run, or give --schema FILE.json or --format criteo as in training, or the id as a number`,
    );
  }
  if (spec.format === "criteo") {
    const column = CRITEO_COLUMNS.indexOf(pairs[0]![0]);
    if (column < 0) throw unknown(text, pairs[0]![0], CRITEO_COLUMNS);
    return featureId(column, valueIn(text), spec.buckets);
  }
  return schemaKey(text, pairs, spec);
}

/** `a=x`, or of a cross `a=x,b=y`. */
function assignments(text: string): [column: string, value: string][] | undefined {
  const parts = text.split(/,(?=[^,=]+=)/).map((part) => [part, part.indexOf("=")] as const);
  if (parts.some(([, at]) => at < 1)) return undefined;
  return parts.map(([part, at]) => [part.slice(0, at), part.slice(at + 1)]);
}

const valueIn = (text: string): string => text.slice(text.indexOf("=") + 1);

function schemaKey(
  text: string,
  pairs: readonly (readonly [column: string, value: string])[],
  { schema, format, buckets }: Exclude<FileSpec, { format: "criteo" }>,
): bigint {
  const { categorical, bags } = schema;
  const crosses = categorical.map((each) => (typeof each === "object" && "cross" in each ? each.cross : undefined));
  const cross = crosses.findIndex(
    (parts) => parts?.length === pairs.length && parts.every((part, i) => columnOf(part) === pairs[i]![0]),
  );
  if (cross >= 0) {
    const values = crosses[cross]!.map((part, i) => hashed(part, pairs[i]![1], format));
    return crossId(cross, values, buckets);
  }
  // Whatever follows the first = is its value.
  const [column] = pairs[0]!;
  const single = categorical.findIndex((each, i) => crosses[i] === undefined && columnOf(each as Single) === column);
  if (single >= 0) return featureId(single, hashed(categorical[single] as Single, valueIn(text), format), buckets);
  const bag = Object.entries(bags).findIndex(([name, each]) => name === column || each.column === column);
  if (bag >= 0) return featureId(categorical.length + bag, valueIn(text), buckets);
  const known = categorical.map((each, i) => crosses[i]?.map(columnOf).join("=…,") ?? columnOf(each as Single));
  throw unknown(text, column, [...known, ...Object.keys(bags)]);
}

const columnOf = (part: Single): string => (typeof part === "string" ? part : part.column);

/** What the hash takes of a value: numbers of Parquet files are hashed as such, and of buckets their place. */
function hashed(part: Single, text: string, format: "csv" | "parquet"): string | number {
  const number = text.trim() === "" ? Number.NaN : Number(text);
  if (typeof part === "object" && "bucketize" in part) {
    return Number.isNaN(number) ? number : part.bucketize.filter((bound) => number >= bound).length;
  }
  return format === "parquet" && !Number.isNaN(number) ? number : text;
}

function unknown(text: string, column: string, names: readonly string[]): UsageError {
  return new UsageError(
    `key ${JSON.stringify(text)}: the data has no categorical column "${column}"; it has ${names.join(", ")}${didYouMean(column, names)}`,
  );
}
