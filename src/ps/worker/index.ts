// What workers do with a parameter server: a communicator between readers, trainers and partitions, and the whole state.
export { type Converter, converterOf } from "../halves.ts";
export { CommunicatorHandle, type CommunicatorOptions, type RunRings, type Traffic } from "./communicator-handle.ts";
export type { GeoLayout } from "./geo-layout.ts";
export { withOldWeights } from "./geo-layout.ts";
export {
  type DenseGradient,
  type GradientGroup,
  type GradientLayout,
  gradientLayout,
  type Lookup,
  type PreparedLayout,
  preparedLayout,
  type WorkerTable,
  withoutSlots,
  workerTable,
} from "./plan.ts";
export { isStepwise, type SendOptions } from "./protocol.ts";
export { RemotePartitions } from "./remote.ts";
export type { RingHandle } from "./slots.ts";
export { WholeState } from "./whole-state.ts";
