// What a dataset is: plain data that goes to reader threads, into checkpoints and to other processes.
import { z } from "zod";
import { schemaSchema, whereSchema } from "./schema.ts";

const patterns = z
  .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
  .transform((value) => (typeof value === "string" ? [value] : value));

const oneByte = z
  .string()
  .length(1)
  .refine((text) => text.charCodeAt(0) < 128 && text !== "\n" && text !== "\r", {
    message: "must be one ASCII character",
  });

const common = {
  batch: z.int().min(1).max(65536).default(512),
  /** Ids are folded into [1, buckets]; without it they keep 64 bits. */
  buckets: z.int().min(1).max(0xffffffff).optional(),
  order: z.enum(["fast", "file"]).default("fast"),
  /** Reader threads. */
  readers: z.int().min(1).max(64).default(1),
  /** Seed of the order of pieces of files and of rows; each epoch has its own. Without it: the order of the files. */
  shuffle: z.int().min(0).max(0xffffffff).optional(),
  /** Rows among which a reader mixes, where there is a `shuffle`; 0 keeps their order within pieces of files. */
  shuffleWindow: z
    .int()
    .min(0)
    .max(2 ** 24)
    .default(65_536),
};
const text = { onBadLine: z.enum(["fail", "skip"]).default("fail") };
const kept = {
  patterns,
  where: z.array(whereSchema).default([]),
  shard: z
    .strictObject({ rank: z.int().min(0), worldSize: z.int().min(1) })
    .refine((shard) => shard.rank < shard.worldSize, { message: "rank must be below worldSize" })
    .default({ rank: 0, worldSize: 1 }),
};

export const criteoOptions = z.strictObject({
  ...common,
  ...text,
  /** False where lines have no label, as in the test set of the challenge: 39 fields instead of 40. */
  labels: z.boolean().default(true),
});
export const csvOptions = z
  .strictObject({
    ...common,
    ...text,
    schema: schemaSchema,
    /** The first line names the columns; without it `columns` must. */
    header: z.boolean().default(true),
    columns: z.array(z.string()).min(1).optional(),
    delimiter: oneByte.default(","),
    /** False where quotes are ordinary characters. */
    quote: z.union([oneByte, z.literal(false)], { error: "must be one ASCII character or false" }).default('"'),
    /** Quoted fields may hold line breaks; a file is then read by one reader from its start. */
    multiline: z.boolean().default(false),
    /** Blanks around fields do not count. */
    trim: z.boolean().default(false),
    /** Texts that mean a missing value, beside the empty one; at most 8 bytes each. */
    missing: z.array(z.string().min(1).max(8)).max(8).default([]),
    /** Lines to pass over at the start of each file, before the header. */
    skipLines: z.int().min(0).default(0),
  })
  .refine((options) => options.header !== (options.columns !== undefined), {
    message:
      "column names come from the header (header: true) or from columns (header: false), and from one of them only",
    path: ["columns"],
  });
export const parquetOptions = z.strictObject({ ...common, schema: schemaSchema });

/** Columns in memory: what `data.tensors` makes of its arguments. */
const tensorColumn = z.strictObject({
  name: z.string().min(1),
  dtype: z.enum(["f32", "i32", "u32", "u8"]),
  /** Of a row. */
  shape: z.array(z.int().min(1)),
  /** Row after row; shared, so that readers need no copy. */
  data: z.instanceof(SharedArrayBuffer),
});

export const tensorOptions = z.strictObject({
  batch: common.batch,
  /** Seed of the order of the rows, another one each epoch; without it: the order given. */
  shuffle: common.shuffle,
  /** What becomes of rows that do not fill a batch: padded with rows of weight 0, or left out. */
  lastBatch: z.enum(["pad", "drop"]).default("pad"),
});

export const specSchema = z.discriminatedUnion("format", [
  z.strictObject({ format: z.literal("criteo"), ...criteoOptions.shape, ...kept }),
  z.strictObject({ format: z.literal("csv"), ...csvOptions.shape, ...kept }),
  z.strictObject({ format: z.literal("parquet"), ...parquetOptions.shape, ...kept }),
  z.strictObject({
    format: z.literal("tensors"),
    ...tensorOptions.shape,
    ...kept,
    patterns: z.tuple([]).default([]),
    order: common.order,
    readers: z.literal(1).default(1),
    shuffleWindow: z.literal(0).default(0),
    rows: z.int().min(0),
    columns: z.array(tensorColumn).min(1),
  }),
]);

export type CriteoOptions = z.input<typeof criteoOptions>;
export type CsvOptions = z.input<typeof csvOptions>;
export type ParquetOptions = z.input<typeof parquetOptions>;
export type TensorOptions = z.input<typeof tensorOptions>;
export type DatasetSpec = z.output<typeof specSchema>;
export type CriteoSpec = Extract<DatasetSpec, { format: "criteo" }>;
export type CsvSpec = Extract<DatasetSpec, { format: "csv" }>;
export type ParquetSpec = Extract<DatasetSpec, { format: "parquet" }>;
export type TensorSpec = Extract<DatasetSpec, { format: "tensors" }>;
/** What lies in files. */
export type FileSpec = Exclude<DatasetSpec, TensorSpec>;
/** CSV and Parquet: what the schema drives. */
export type TableSpec = CsvSpec | ParquetSpec;
