// Ready models by their names, as checkpoints and the command line give them.
import * as click from "./click.ts";
import * as language from "./language.ts";
import type { Model } from "./model.ts";
import * as vision from "./vision.ts";

const constructors: Readonly<Record<string, (options: never) => Model>> = {
  ...{ logisticRegression: click.logisticRegression, factorizationMachine: click.factorizationMachine },
  ...{ wideAndDeep: click.wideAndDeep, deepFM: click.deepFM, dcnV2: click.dcnV2 },
  ...vision,
  ...language,
};

export const modelNames: readonly string[] = Object.keys(constructors);

/** A model from its name and configuration. @throws Error for a name that is none, or a configuration that does not fit */
export function create(name: string, config: unknown): Model {
  if (!Object.hasOwn(constructors, name)) {
    throw new Error(`model ${JSON.stringify(name)} is unknown; choose one of ${modelNames.join(", ")}`);
  }
  return constructors[name]!(config as never);
}
