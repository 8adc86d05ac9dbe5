// The declarative schema of CSV and Parquet data: which columns become label, dense numbers and feature ids.
import { z } from "zod";

const columnName = z.string().min(1);
const scalar = z.union([z.string(), z.number()]);

/** The number of the column itself unless a test turns it into 0 or 1. */
const label = z
  .strictObject({
    column: columnName,
    /** 1 where the value's text equals this one, or one of these. */
    equals: z.union([scalar, z.array(scalar).min(1)]).optional(),
    greaterThan: z.number().optional(),
    greaterOrEqual: z.number().optional(),
  })
  .refine((v) => [v.equals, v.greaterThan, v.greaterOrEqual].filter((test) => test !== undefined).length <= 1, {
    message: "takes one of equals, greaterThan and greaterOrEqual",
  });

const transform = z.union(
  [
    z.literal("none"),
    /** ln(1 + max(x, 0)) */
    z.literal("log"),
    /** (x − mean) / scale */
    z.strictObject({ mean: z.number(), scale: z.number().positive() }),
  ],
  { error: 'must be "none", "log" or { mean, scale }' },
);

const dense = z.union([columnName, z.strictObject({ column: columnName, transform: transform.default("none") })], {
  error: "must be a column or { column, transform }",
});

const bucketized = z.strictObject({
  column: columnName,
  /** Ascending bounds: value x falls in the bucket whose index is the number of bounds ≤ x. */
  bucketize: z
    .array(z.number())
    .min(1)
    .refine((bounds) => bounds.every((bound, i) => i === 0 || bound > bounds[i - 1]!), { message: "must ascend" }),
});

const single = z.union([columnName, bucketized, z.strictObject({ column: columnName })], {
  error: "must be a column, { column } or { column, bucketize }",
});
const categorical = z.union([single, z.strictObject({ cross: z.array(single).min(2) })], {
  error: "must be a column, { column }, { column, bucketize } or { cross }",
});

const bag = z.strictObject({
  column: columnName,
  separator: z.string().length(1),
  /** The most values a row; further ones are left out. */
  max: z.int().min(1).max(4096),
});

export const dateParts = ["hour", "weekday", "month", "dayOfMonth"] as const;
export const timeUnits = ["s", "ms", "us", "ns"] as const;

/** A number computed from a timestamp: hour 0–23, weekday 0 (Sunday)–6, month 1–12, dayOfMonth 1–31, all in UTC. */
const derived = z.strictObject({
  column: columnName,
  part: z.enum(dateParts),
  /** What a plain number in the column counts since 1970; ISO 8601 text and Parquet timestamps need none. */
  unit: z.enum(timeUnits).default("ms"),
});

const reserved = new Set(["label", "weight", "dense", "categorical"]);

export const schemaSchema = z
  .strictObject({
    label: label.optional(),
    dense: z.array(dense).default([]),
    categorical: z.array(categorical).default([]),
    bags: z.record(columnName, bag).default({}),
    derived: z.record(columnName, derived).default({}),
  })
  .superRefine((schema, context) => {
    for (const name of Object.keys(schema.bags)) {
      if (reserved.has(name)) context.addIssue({ code: "custom", path: ["bags", name], message: "is a reserved name" });
    }
    for (const [name, { column }] of Object.entries(schema.derived)) {
      if (column in schema.derived) {
        context.addIssue({ code: "custom", path: ["derived", name], message: `comes from derived column "${column}"` });
      }
    }
  });

/** What a user writes. */
export type SchemaInput = z.input<typeof schemaSchema>;
/** The same with every default filled in. */
export type Schema = z.output<typeof schemaSchema>;
export type SingleSpec = z.output<typeof single>;
export type CategoricalSpec = z.output<typeof categorical>;
export type DenseTransform = z.output<typeof transform>;
export type DatePart = (typeof dateParts)[number];
export type TimeUnit = (typeof timeUnits)[number];

const bound = z.union([
  z.number(),
  z.string().refine((text) => !Number.isNaN(Date.parse(text)), { message: "is no date" }),
]);
const fraction = z.number().min(0).max(1);

/** Half-open [from, to): of a number or timestamp column, or of the rows of each file by their position. */
export const whereSchema = z.union([
  z
    .strictObject({ column: columnName, from: bound.optional(), to: bound.optional() })
    .refine((range) => range.from !== undefined || range.to !== undefined, { message: "needs from, to or both" }),
  z.strictObject({ rows: z.strictObject({ from: fraction.default(0), to: fraction.default(1) }) }),
]);
export type WhereInput = z.input<typeof whereSchema>;
export type Where = z.output<typeof whereSchema>;

/** Names of the source columns that the schema and the filters read, derived ones resolved, without repetition. */
export function sourceColumns(schema: Schema, where: readonly Where[]): string[] {
  const names = new Set<string>();
  const add = (name: string): void => {
    names.add(schema.derived[name]?.column ?? name);
  };
  const addSingle = (spec: SingleSpec): void => add(typeof spec === "string" ? spec : spec.column);
  if (schema.label) add(schema.label.column);
  for (const spec of schema.dense) addSingle(spec);
  for (const spec of schema.categorical) {
    if (typeof spec === "object" && "cross" in spec) for (const part of spec.cross) addSingle(part);
    else addSingle(spec);
  }
  for (const { column } of Object.values(schema.bags)) names.add(column);
  for (const filter of where) if ("column" in filter) add(filter.column);
  return [...names];
}
