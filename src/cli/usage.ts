// What a user types, checked: numbers with their limits, names with the nearest one suggested, and the error of wrong use.
import { sep } from "node:path";
import { InvalidArgumentError } from "commander";

/** The command was used wrongly: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const squashed = (text: string): string => text.toLowerCase().replaceAll(/[-_ ]/g, "");

/**
 * The name that `text` means: in any case, with or without hyphens ("deep-fm", "DeepFM").
 * @param what names the option in the error
 * @throws UsageError with what is allowed and the nearest name
 */
export function oneOf<T extends string>(what: string, text: string, names: readonly T[]): T {
  const found = names.find((name) => squashed(name) === squashed(text));
  if (found !== undefined) return found;
  throw new UsageError(
    `${what}: ${JSON.stringify(text)} is unknown; allowed: ${names.join(", ")}${didYouMean(text, names)}`,
  );
}

/** "; did you mean X?" where a name is near, else nothing. */
export function didYouMean(text: string, names: readonly string[]): string {
  const distances = names.map((name) => ({ name, distance: editDistance(squashed(text), squashed(name)) }));
  const near = distances.filter(({ name, distance }) => distance <= Math.max(1, Math.floor(name.length / 3)));
  const best = near.toSorted((a, b) => a.distance - b.distance)[0];
  return best === undefined ? "" : `; did you mean ${best.name}?`;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/** A parser of option values for commander: a whole number. */
export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text.replaceAll("_", ""));
    if (text.trim() !== "" && Number.isSafeInteger(value) && value >= min && value <= max) return value;
    const upTo = max === Number.MAX_SAFE_INTEGER ? "" : ` to ${max}`;
    throw new InvalidArgumentError(`Give a whole number ${upTo === "" ? "of at least " : "from "}${min}${upTo}.`);
  };
}

/** A parser of option values for commander: a number above `above` (or equal to it) and below `below`. */
export function realNumber(
  above: number,
  below = Number.POSITIVE_INFINITY,
  inclusive = false,
): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && (inclusive ? value >= above : value > above) && value < below) return value;
    const lower = inclusive ? `of at least ${above}` : `above ${above}`;
    throw new InvalidArgumentError(
      `Give a number ${lower}${below === Number.POSITIVE_INFINITY ? "" : ` and below ${below}`}.`,
    );
  };
}

/** A parser of option values for commander: widths of layers, "400,400,400". */
export function widths(text: string): number[] {
  return text.split(",").map(wholeNumber(1, 1 << 20));
}

/** How the user called this command, to repeat it in advice. */
export function commandName(env: NodeJS.ProcessEnv = process.env): string {
  if (env.npm_lifecycle_event === "flotilla") return "npm run flotilla --";
  return env.npm_command === "exec" ? "npx flotilla" : "flotilla";
}

/** A word as a shell takes it. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A message in the words of the command line: options instead of fields, paths as the user gave them. */
export function asTyped(message: string): string {
  return message
    .replace(/^(fleet\.init|fit|trainer|openPipeline): /, "")
    .replace(/(; see `flotilla doctor`)+/, `; see \`${commandName()} doctor\``)
    .replaceAll(`${process.cwd()}${sep}`, "")
    .replaceAll('pass onBadLine: "skip"', "give --on-bad-line skip")
    .replaceAll("; read it with data.parquet", "; say --format parquet");
}

const SCALES = { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 } as const;

/** A parser of option values for commander: 1e11, 256GB, 25Gbit. @param unit may stand behind the number */
export function quantity(min: number, unit?: string): (text: string) => number {
  return (text) => {
    const match = /^([\d._]+(?:e\+?\d+)?)\s*([kMGTP]?)([a-zA-Z]*)(?:\/s)?$/.exec(text);
    const value =
      match === null ? Number.NaN : Number(match[1]!.replaceAll("_", "")) * SCALES[match[2] as keyof typeof SCALES];
    const known = match?.[3] === "" || (unit !== undefined && match?.[3] === unit);
    if (known && Number.isFinite(value) && value >= min) return value;
    const example = unit === undefined ? "1e9 or 1G" : unit === "B" ? "256GB" : "25Gbit";
    throw new InvalidArgumentError(`Give a number of at least ${min}, as ${example}.`);
  };
}
