// Optimizers and schedules as they are written on the command line: `adam`, `adam:beta1=0.8,epsilon=1e-7`,
// `cosine:total=20000,floor=1e-4`.
import {
  type LearningRate,
  learningRateSchema,
  type Optimizer,
  optimizerNames,
  parseOptimizer,
  servesTables,
} from "../optim/index.ts";
import { didYouMean, oneOf, UsageError } from "./usage.ts";

/** Every model of the command has tables. */
export const commandOptimizers = optimizerNames.filter((name) => servesTables({ name }));

type Settings = Record<string, number | boolean>;

/** Parameters of the schedules besides the rate; true: needed. */
const schedules = {
  constant: {},
  step: { every: true, gamma: true },
  cosine: { total: true, floor: false },
  polynomial: { total: true, power: false, floor: false },
  noam: { dim: true, warmup: true, factor: false },
} as const;

/** Splits `NAME:key=value,…`. */
function split(option: string, text: string): { name: string; settings: Settings } {
  const [name = "", ...rest] = text.split(":");
  const settings: Settings = {};
  for (const pair of rest
    .join(":")
    .split(",")
    .filter((part) => part !== "")) {
    const [key = "", value = "", ...more] = pair.split("=");
    const known = value === "true" ? true : value === "false" ? false : Number(value);
    if (key === "" || value === "" || more.length > 0 || Number.isNaN(known)) {
      throw new UsageError(
        `${option}: ${JSON.stringify(pair)} is no setting; write NAME:key=value,key=value, as in adam:beta1=0.8`,
      );
    }
    settings[key] = known;
  }
  return { name, settings };
}

export interface RateOptions {
  readonly lr?: number;
  readonly schedule?: string;
  readonly warmup?: number;
}

/** @param option the name of the option, for errors */
export function parseOptimizerOption(option: string, text: string, rate: RateOptions = {}): Optimizer {
  const { name: typed, settings } = split(option, text);
  const name = oneOf(option, typed, commandOptimizers);
  if (rate.lr !== undefined && settings.lr !== undefined)
    throw new UsageError(`${option} and --lr both give a rate; give one`);
  const plain = checked(option, { name, ...settings, ...(rate.lr === undefined ? {} : { lr: rate.lr }) });
  if (rate.schedule === undefined && rate.warmup === undefined) return plain;
  return checked(option, { ...plain, lr: scheduled(plain.lr as number, rate) });
}

function checked(option: string, value: { readonly name: string; readonly lr?: LearningRate }): Optimizer {
  try {
    return parseOptimizer(value);
  } catch (error) {
    throw new UsageError(`${option}: ${(error as Error).message.replace("optim.", "").replaceAll("✖ ", "")}`);
  }
}

function scheduled(lr: number, { lr: given, schedule = "constant", warmup }: RateOptions): LearningRate {
  const { name, settings } = split("--schedule", schedule);
  const kind = oneOf("--schedule", name, Object.keys(schedules) as (keyof typeof schedules)[]);
  const parameters: Readonly<Record<string, boolean>> = schedules[kind];
  for (const key of Object.keys(settings)) {
    if (key in parameters) continue;
    const allowed = Object.keys(parameters);
    throw new UsageError(
      `--schedule ${kind} has no ${JSON.stringify(key)}; ${allowed.length === 0 ? "it takes nothing" : `it takes ${allowed.join(", ")}`}${didYouMean(key, allowed)}`,
    );
  }
  const missing = Object.keys(parameters).filter((key) => parameters[key] && settings[key] === undefined);
  if (missing.length > 0) {
    throw new UsageError(
      `--schedule ${kind} needs ${missing.join(" and ")}, as in --schedule ${kind}:${missing.map((key) => `${key}=…`).join(",")}`,
    );
  }
  if (kind === "noam" && given !== undefined) {
    throw new UsageError("--schedule noam computes the rate itself; leave --lr out, or scale it with noam:…,factor=2");
  }
  const after = kind === "noam" ? { kind, ...settings } : { kind, lr, ...settings };
  const simple = kind === "constant" ? lr : after;
  const parsed = learningRateSchema.safeParse(
    warmup === undefined ? simple : { kind: "warmup", warmup, after: simple },
  );
  if (parsed.success) return parsed.data;
  throw new UsageError(
    `--schedule ${JSON.stringify(schedule)}: steps (total, every, warmup, dim) are positive whole numbers, rates and factors positive numbers`,
  );
}
