// What a job of many processes takes: servers, memory, network and disk, from constants that are measured.
export { type Constants, defaultConstants, loadConstants, storeConstants } from "./constants.ts";
export { measureConstants } from "./measure.ts";
export { type Memory, partitionMemory, type RowSpec, rowSpec, spilledMemory } from "./memory.ts";
export { type Limit, type Need, type Plan, type PlanOptions, plan } from "./plan.ts";
