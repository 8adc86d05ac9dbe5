// What servers serve, as plain data that the worker of rank 0 sends them: tables with their update rules, accessors and
// admission, dense parameters, the mode. Everything is checked here; defaults are PaddlePaddle's.
import { crc32 } from "node:zlib";
import { z } from "zod";
import type { Expr, UpdateRule } from "../kernels/index.ts";
import { type Optimizer, parseOptimizer, servesTables, updateRule } from "../optim/index.ts";
import { layoutOf, type TableSpec, validateSpec } from "../table/index.ts";
import { MAX_FIELDS } from "./messages.ts";

/**
 * - `sync`: a step's gradients of all workers are averaged, applied once, and then released;
 * - `half-async`, `async`: applied on arrival, they differ in what workers wait for;
 * - `geo`: pushes are differences of weights, which are added; no update rules.
 */
export const psModes = ["sync", "half-async", "async", "geo"] as const;
export type PsMode = (typeof psModes)[number];

const weight = z.number().nonnegative();

/**
 * Statistics of a row and what follows from them. A row has its shows and clicks, days without a push (`unseen`), and the
 * score that it gained since it was last saved as a delta.
 */
const accessorSchema = z.strictObject({
  kind: z.literal("ctr"),
  /** score = nonClick · (show − click) + click · click */
  nonClick: weight.default(0.1),
  click: weight.default(1),
  /** By what a shrink multiplies shows and clicks. */
  decay: z.number().min(0).max(1).default(0.98),
  /** A shrink drops rows of a lower score, and those unseen for more days. */
  dropScore: weight.default(0.8),
  dropUnseen: weight.default(30),
  /** Rows unseen for more days are the first to go to disk. */
  spillUnseen: weight.default(1),
  /** `base` and `delta` saves hold rows of at least this score, seen within `keepUnseen` days, … */
  saveScore: weight.default(1.5),
  keepUnseen: weight.default(16),
  /** … `delta` saves only those that gained so much since the last one. */
  deltaScore: weight.default(0.25),
});
export type Accessor = z.infer<typeof accessorSchema>;

/**
 * Whether a new feature gets weights. `probability`: each push of a key that has none draws. `count`: once it was shown so
 * often. `score`: once its accessor's score is reached.
 */
const admissionSchema = z.union([
  z.strictObject({ kind: z.literal("always") }),
  z.strictObject({ kind: z.literal("probability"), probability: z.number().min(0).max(1) }),
  z.strictObject({ kind: z.literal("count"), count: z.number().positive() }),
  z.strictObject({ kind: z.literal("score"), score: weight.default(10) }),
]);
export type Admission = z.infer<typeof admissionSchema>;

const exprSchema: z.ZodType<Expr> = z.custom<Expr>((value) => typeof value === "object" && value !== null);
const ruleSchema = z.strictObject({
  slots: z.array(z.strictObject({ name: z.string(), initial: z.number(), perRow: z.boolean().optional() })),
  scalars: z.array(z.string()),
  weight: exprSchema,
  state: z.array(exprSchema),
});
const optimizerSchema = z.custom<Optimizer>().transform((value, context): Optimizer => {
  try {
    return parseOptimizer(value);
  } catch (cause) {
    context.addIssue({ code: "custom", message: (cause as Error).message });
    return z.NEVER;
  }
});

/**
 * How a field or dense parameter moves: by an optimizer, or by a rule of one's own (for example a clipped one), whose
 * scalars are then the optimizer's.
 */
const fieldRuleSchema = z.strictObject({ optimizer: optimizerSchema, rule: ruleSchema.optional() });
export interface FieldRule {
  readonly optimizer: Optimizer;
  readonly rule?: UpdateRule | undefined;
}

const tableSpecSchema = z.strictObject({
  name: z.string().min(1),
  seed: z.int().nonnegative(),
  capacity: z.int().nonnegative().optional(),
  fields: z
    .array(
      z.strictObject({
        name: z.string().regex(/^(?!_)[\w-]+$/, "must consist of letters, digits, _ and -, and not start with _"),
        dim: z.int().positive(),
        slots: ruleSchema.shape.slots,
        init: z.strictObject({ kind: z.enum(["uniform", "normal", "zeros"]), scale: z.number() }),
      }),
    )
    .min(1)
    .max(MAX_FIELDS),
});

const servedTableSchema = z.strictObject({
  /** The slots of its fields are those of the rules. */
  spec: tableSpecSchema,
  /** By the names of the fields; none in mode `geo`. */
  rules: z.record(z.string(), fieldRuleSchema).default({}),
  accessor: accessorSchema.optional(),
  /** Of the whole row, or of single fields by name (a wide embedding that only features worth it get). Default: always. */
  admission: z.union([admissionSchema, z.record(z.string(), admissionSchema)]).default({ kind: "always" }),
  /** Whether a pull or a push makes a row that is missing. */
  create: z.enum(["pull", "push"]).default("push"),
  /**
   * What a pull gives for what is missing: the weights that a new row starts with, or zeros. Default: the former for fields
   * that are always admitted, zeros for the others.
   */
  missing: z.enum(["initial", "zeros"]).optional(),
  /** Gradients are divided by the push's shows of their row before the rule sees them. */
  perShow: z.boolean().default(false),
  /** What halves a worker puts on the wire; the server takes what each section says. */
  wire: z.enum(["f32", "f16", "bf16"]).default("f32"),
});

/** What a user chooses of a table on servers. */
export const tableChoicesSchema = servedTableSchema.pick({ accessor: true, admission: true }).partial();

const servedDenseSchema = z.strictObject({
  name: z.string().min(1),
  length: z.int().positive(),
  /** `value`: no gradients: a push overwrites it (running statistics; in mode `sync` that of the lowest rank). */
  rule: z.union([z.literal("value"), fieldRuleSchema]),
});

/**
 * What a server keeps on disk, so that it may die. `journal`: every applied change is written down before it is
 * acknowledged, and nothing acknowledged is lost. `snapshot`: the state at intervals. `none`: nothing; the job ends with it.
 */
export const durabilities = ["journal", "snapshot", "none"] as const;
export type Durability = (typeof durabilities)[number];

const storageSchema = z.strictObject({
  durability: z.enum(durabilities).default("journal"),
  /** Whether an acknowledged change survives a loss of power, not only of the process. */
  fsync: z.boolean().default(true),
  /** A snapshot cuts the journal when it is longer than this and than the state. */
  journalBytes: z
    .int()
    .positive()
    .default(2 ** 28),
  /** Of `snapshot`: how often. */
  snapshotSeconds: z.number().positive().default(60),
  /**
   * Memory of a partition's rows beyond which cold ones go to disk. What says where these are comes on top: up to 46 bytes
   * each. Default: 60 % of its heap.
   */
  maxBytes: z.int().positive().optional(),
  /** Whether they do; else a full partition refuses new rows. Not in mode `geo`. */
  spill: z.boolean().default(true),
});
export type Storage = z.output<typeof storageSchema>;

const modelSchema = z.strictObject({
  mode: z.enum(psModes),
  /** How many workers mode `sync` waits for at first. */
  workers: z.int().positive().max(65_536),
  /** Of all servers together. */
  partitions: z.int().positive().max(65_536),
  tables: z.array(servedTableSchema).default([]),
  dense: z.array(servedDenseSchema).default([]),
  storage: storageSchema.prefault({}),
});

export interface ServedTable extends Omit<z.output<typeof servedTableSchema>, "spec" | "rules"> {
  readonly spec: TableSpec;
  readonly rules: Readonly<Record<string, FieldRule>>;
}
export interface ServedDense {
  readonly name: string;
  readonly length: number;
  readonly rule: "value" | FieldRule;
}
export interface ServedModel {
  readonly mode: PsMode;
  readonly workers: number;
  readonly partitions: number;
  readonly tables: readonly ServedTable[];
  readonly dense: readonly ServedDense[];
  readonly storage: Storage;
}
export type ServedModelOptions = z.input<typeof modelSchema>;

/** The rule that moves a field or parameter. */
export const ruleOf = ({ optimizer, rule }: FieldRule): UpdateRule => rule ?? updateRule(optimizer, "ps");

/** The admission of each field of a table, in the order of its fields. */
export function admissionsOf({ spec, admission }: ServedTable): Admission[] {
  const single = admissionSchema.safeParse(admission);
  if (single.success) return spec.fields.map(() => single.data);
  const byField = admission as Readonly<Record<string, Admission>>;
  return spec.fields.map(({ name }) => byField[name] ?? { kind: "always" });
}

/**
 * Fills in defaults.
 * @throws Error that names what is wrong, and where
 */
export function parseModel(value: unknown): ServedModel {
  const parsed = modelSchema.safeParse(value);
  if (!parsed.success) throw new Error(`parameter server: ${z.prettifyError(parsed.error)}`);
  const model = parsed.data as unknown as ServedModel;
  const names = [...model.tables.map(({ spec }) => spec.name), ...model.dense.map(({ name }) => name)];
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new Error(`parameter server: two tables or parameters are named "${twice}"`);
  for (const table of model.tables) checkTable(table, model.mode);
  return model;
}

function checkTable(table: ServedTable, mode: PsMode): void {
  const { spec, rules, accessor, admission } = table;
  const fail = (what: string): never => {
    throw new Error(`parameter server: table "${spec.name}": ${what}`);
  };
  validateSpec(spec);
  layoutOf(spec);
  const fields = spec.fields.map(({ name }) => name);
  const strayRule = Object.keys(rules).find((name) => !fields.includes(name));
  if (strayRule !== undefined) fail(`a rule is for "${strayRule}", which is no field; the fields are ${fields}`);
  for (const field of spec.fields) checkField(field, rules[field.name], mode, fail);
  if (!("kind" in admission)) {
    const stray = Object.keys(admission).find((name) => !fields.includes(name));
    if (stray !== undefined) fail(`an admission is for "${stray}", which is no field; the fields are ${fields}`);
  }
  const gated = admissionsOf(table).findIndex(({ kind }) => kind !== "always");
  if (mode === "geo" && gated >= 0) {
    fail(`mode "geo" knows no gradients, so it admits always; field "${fields[gated]}" has another admission`);
  }
  const needsScore = admissionsOf(table).some(({ kind }) => kind === "score");
  if (needsScore && accessor === undefined) fail('admission by score needs an accessor; give { kind: "ctr" }');
}

function checkField(
  { name, slots }: TableSpec["fields"][number],
  rule: FieldRule | undefined,
  mode: PsMode,
  fail: (what: string) => never,
): void {
  if (mode === "geo") {
    if (rule !== undefined) fail(`field "${name}" has an update rule, but mode "geo" adds differences of weights`);
    if (slots.length > 0) fail(`field "${name}" has slots, but mode "geo" keeps no optimizer state on servers`);
    return;
  }
  if (rule === undefined) fail(`field "${name}" has no update rule`);
  else if (!servesTables(rule.optimizer)) {
    fail(`optimizer ${rule.optimizer.name} takes norms of whole parameters and cannot move rows; field "${name}"`);
  } else if (JSON.stringify(slots) !== JSON.stringify(ruleOf(rule).slots)) {
    const wanted = JSON.stringify(ruleOf(rule).slots);
    fail(`the slots of field "${name}" are ${JSON.stringify(slots)}, but its update rule has ${wanted}`);
  }
}

/** A number that tells models apart: workers send it with every push and pull. */
export function definitionOf(model: ServedModel): number {
  return crc32(JSON.stringify(model));
}
