// Which optimizer moves what: one for everything, or one for each group of parameters and table fields.
import { posix } from "node:path";
import type { UpdateRule } from "../kernels/index.ts";
import { type Optimizer, parseOptimizer, servesTables, updateRule } from "../optim/index.ts";
import { type Clip, clipRule, type Program } from "../program/index.ts";

/**
 * Optimizers by group; `default` serves the rest. A group is the group that parameters were declared with, a table field, or
 * a glob over the names of parameters, such as `"head/**"`. What several groups would take belongs to the first of them.
 */
export type OptimizerGroups = Readonly<Record<string, Optimizer>> & { readonly default: Optimizer };

/** @throws where an option is wrong or there is no default group */
export function optimizerGroups(optimizer: Optimizer | OptimizerGroups): OptimizerGroups {
  if ("name" in optimizer && typeof optimizer.name === "string") return { default: parseOptimizer(optimizer) };
  const groups = Object.entries(optimizer as OptimizerGroups).map(([group, value]) => [group, parseOptimizer(value)]);
  const result = Object.fromEntries(groups) as OptimizerGroups;
  if (result.default === undefined) throw new TypeError("trainer: optimizer groups need one called `default`");
  return result;
}

/** The update rules of a model's dense parameters and table fields. */
export interface ModelRules {
  readonly parameter: (name: string) => UpdateRule;
  readonly field: (name: string) => UpdateRule;
  /** Whose rule it is. */
  readonly optimizerOf: {
    readonly parameter: (name: string) => Optimizer;
    readonly field: (name: string) => Optimizer;
  };
}

/**
 * Shares a model's parameters and fields out to the groups.
 * @throws where a group takes nothing, which is a misspelt name, or an optimizer cannot move the rows of a table
 */
export function modelRules(
  groups: OptimizerGroups,
  { parameters, tables }: Program,
  clip: Clip | undefined,
): ModelRules {
  const named = Object.keys(groups).filter((group) => group !== "default");
  const taken = new Set<string>();
  const fieldNames = [...new Set(Object.values(tables).flatMap(({ fields }) => fields.map(({ name }) => name)))];
  const groupOf = (takes: (group: string) => boolean): string => {
    const group = named.find(takes) ?? "default";
    taken.add(group);
    return group;
  };
  const trainable = Object.entries(parameters).filter(([, parameter]) => parameter.trainable);
  const ofParameters = new Map(
    trainable.map(([name, parameter]) => [
      name,
      groupOf((group) => group === parameter.group || posix.matchesGlob(name, group)),
    ]),
  );
  const ofFields = new Map(fieldNames.map((name) => [name, groupOf((group) => group === name)]));
  const stray = named.find((group) => !taken.has(group));
  if (stray !== undefined) {
    const declared = new Set(trainable.map(([, { group }]) => group));
    throw new Error(
      `optimizer group "${stray}" takes nothing that an earlier one leaves: it is no group of parameters (${list(declared)}), no table field (${list(fieldNames)}) and matches no parameter (${list(ofParameters.keys())})`,
    );
  }
  for (const [field, group] of ofFields) {
    const optimizer = groups[group]!;
    if (servesTables(optimizer)) continue;
    throw new Error(
      `optimizer ${optimizer.name} takes the norms of whole parameters and cannot move the rows of the table field "${field}"; give "${field}" a group of its own, with another optimizer`,
    );
  }
  const ruleOf = (group: string): UpdateRule => updateRule(groups[group]!, group);
  return {
    parameter: (name) => ruleOf(ofParameters.get(name)!),
    // The program clips the gradients of dense parameters; those of rows are known in the kernel alone.
    field: (name) => clipRule(ruleOf(ofFields.get(name)!), clip),
    optimizerOf: {
      parameter: (name) => groups[ofParameters.get(name)!]!,
      field: (name) => groups[ofFields.get(name)!]!,
    },
  };
}

const LISTED = 8;

function list(names: Iterable<string>): string {
  const all = [...names];
  if (all.length === 0) return "there is none";
  return all.length > LISTED ? `${all.slice(0, LISTED).join(", ")}, …` : all.join(", ");
}
