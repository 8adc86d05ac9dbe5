// A model as parameter servers see it, and where a step reads and leaves what goes to and from them.
import { type BatchLayout, columnOf } from "../data/index.ts";
import type { ExternalLookup } from "../passes/index.ts";
import { type PsMode, parseModel, type ServedModel } from "../ps/index.ts";
import {
  type GradientGroup,
  type GradientLayout,
  gradientLayout,
  type Lookup,
  workerTable,
} from "../ps/worker/index.ts";
import type { ModelPrograms, SparseContribution } from "./model-programs.ts";
import type { ParameterStore } from "./parameters.ts";
import { type Strategy, servedMode } from "./strategy.ts";

/** Rows that trainers may touch between two exchanges of mode `geo`, unless a few batches have more. */
const GEO_ROWS = 2 ** 20;

export interface ServedOptions {
  readonly strategy: Strategy;
  readonly workers: number;
  readonly partitions: number;
}

/** Names of the parameters in the order in which the servers have them. */
export const servedNames = ({ parameters, served }: ModelPrograms): string[] => {
  const moved = served!.parameters;
  const values = Object.keys(parameters).filter((name) => !moved.includes(name) && !parameters[name]!.trainable);
  return [...moved, ...values];
};

export function servedModel(
  programs: ModelPrograms,
  lengthOf: (name: string) => number,
  { strategy, workers, partitions }: ServedOptions,
): ServedModel {
  const { tables, rules, served } = programs;
  const mode: PsMode = servedMode(strategy);
  const geo = mode === "geo";
  const stray = Object.keys(strategy.tables ?? {}).find((name) => tables[name] === undefined);
  if (stray !== undefined) {
    throw new Error(`strategy: tables has "${stray}", which is no table of the model; it has ${Object.keys(tables)}`);
  }
  return parseModel({
    ...{ mode, workers, partitions },
    tables: Object.values(tables).map((spec) => ({
      spec: geo ? { ...spec, fields: spec.fields.map((field) => ({ ...field, slots: [] })) } : spec,
      rules: geo
        ? {}
        : Object.fromEntries(
            spec.fields.map(({ name }) => [
              name,
              { optimizer: rules.optimizerOf.field(name), rule: rules.field(name) },
            ]),
          ),
      ...strategy.tables?.[spec.name],
      wire: strategy.wire ?? "f32",
    })),
    ...(strategy.durability === undefined ? {} : { storage: { durability: strategy.durability } }),
    dense: servedNames(programs).map((name) => ({
      name,
      length: lengthOf(name),
      rule: served!.parameters.includes(name)
        ? { optimizer: rules.optimizerOf.parameter(name), rule: rules.parameter(name) }
        : "value",
    })),
  });
}

/** Where the ids of look-ups lie in a batch. */
export function lookupsIn(layout: BatchLayout, model: ServedModel, lookups: readonly ExternalLookup[]): Lookup[] {
  return lookups.map(({ table, column }) => {
    const { offset, shape } = columnOf(layout, column);
    return {
      table: model.tables.findIndex(({ spec }) => spec.name === table),
      ids: offset,
      occurrences: shape.reduce((a, b) => a * b, 1),
    };
  });
}

/** The gradients of a step: rows by table and by the look-ups that feed their fields, then dense parameters. */
export function gradientsOf(
  programs: ModelPrograms,
  model: ServedModel,
  parameters: ParameterStore,
  strategy: Strategy,
): GradientLayout {
  const groups = Object.entries(programs.served!.contributions).flatMap(([name, list]) => {
    const table = model.tables.findIndex(({ spec }) => spec.name === name);
    return strategy.mode === "geo" ? [geoGroup(model, table, list, strategy)] : groupsOf(model, table, list);
  });
  const moved = programs.served!.parameters.length;
  const dense = servedNames(programs).map((name, dense) => ({
    dense,
    length: model.dense[dense]!.length,
    moved: dense < moved,
    weights: parameters.addressOf(name),
  }));
  return gradientLayout(groups, dense);
}

type Group = Omit<GradientGroup, "ids" | "values">;

/** Occurrences of each look-up that gradients name. */
const occurrencesOf = (list: readonly SparseContribution[]): Map<number, number> =>
  new Map(list.map(({ lookup, occurrences }) => [lookup, occurrences]));

/** Fields whose gradients come from the same look-ups have the same rows. */
function groupsOf({ tables }: ServedModel, table: number, list: readonly SparseContribution[]): Group[] {
  const { spec, accessor, admission } = tables[table]!;
  const counts = accessor !== undefined || !("kind" in admission && admission.kind === "always");
  const occurrences = occurrencesOf(list);
  const byLookups = new Map<string, { fields: number[]; lookups: number[] }>();
  for (const [index, { name }] of spec.fields.entries()) {
    const own = list.filter(({ field }) => field === name).map(({ lookup }) => lookup);
    const lookups = [...new Set(own)].sort((a, b) => a - b);
    if (lookups.length === 0) continue;
    const group = byLookups.get(lookups.join()) ?? { fields: [], lookups };
    group.fields.push(index);
    byLookups.set(lookups.join(), group);
  }
  const groups = [...byLookups.values()];
  // Each look-up counts once, though rows of it are in several groups.
  const countedIn = (lookup: number): number => groups.findIndex(({ lookups }) => lookups.includes(lookup));
  return groups.map(({ fields, lookups }, index) => ({
    table,
    fields,
    width: fields.reduce((sum, field) => sum + spec.fields[field]!.dim, 0),
    most: lookups.reduce((sum, lookup) => sum + occurrences.get(lookup)!, 0),
    ...(counts ? { counted: lookups.filter((lookup) => countedIn(lookup) === index) } : {}),
  }));
}

function geoGroup(model: ServedModel, table: number, list: readonly SparseContribution[], { geo }: Strategy): Group {
  const { fields, width } = workerTable(model.tables[table]!);
  const batch = [...occurrencesOf(list).values()].reduce((a, b) => a + b, 0);
  // Batches in flight stay touched when an exchange begins anew: there is room for some of them in any case.
  const most = Math.max(64 * batch, Math.min(batch * (geo?.every ?? 100), GEO_ROWS));
  return { table, fields: fields.map((_, i) => i), width, most };
}
