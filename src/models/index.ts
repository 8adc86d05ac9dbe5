// Ready models.
export {
  type ClickModelName,
  type ClickModelOptions,
  clickModelNames,
  create,
  dcnV2,
  deepFM,
  factorizationMachine,
  logisticRegression,
  wideAndDeep,
} from "./click.ts";
export { type Features, lookUpFeatures } from "./features.ts";
export type { Columns, Model } from "./model.ts";
