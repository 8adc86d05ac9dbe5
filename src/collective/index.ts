// Collectives between ranks: transports, algorithms as schedules, and the communicator that runs them.
export {
  type Algorithm,
  type AllReduceAlgorithm,
  algorithmsOf,
  allReduceAlgorithms,
  type CallOptions,
  type Collective,
  type ElementName,
} from "./call.ts";
export { Communicator, type CommunicatorOptions } from "./communicator.ts";
export type { Link, Links } from "./cost-model.ts";
export { MismatchError, PeerError, StallError } from "./errors.ts";
export type { PreparedCall } from "./executor.ts";
export type { ReduceOp } from "./reduction.ts";
export { partOf, type Range } from "./schedule.ts";
export { createThreadGroup, freeThreadGroup, type ThreadGroup, threadDied, threadTransport } from "./threads.ts";
export type { SharedMemory, Transport } from "./transport.ts";
