// Collectives between ranks: transports, algorithms as schedules, and groups that do them beside the caller's work.
export {
  type Algorithm,
  type AllReduceAlgorithm,
  algorithmsOf,
  allReduceAlgorithms,
  type CallOptions,
  type Collective,
  type ElementName,
} from "./call.ts";
export { CallQueue, type Ticket } from "./call-queue.ts";
export { Communicator, type CommunicatorOptions } from "./communicator.ts";
export type { Link, Links } from "./cost-model.ts";
export { MismatchError, PeerError, StallError } from "./errors.ts";
export type { PreparedCall } from "./executor.ts";
export { Group, type GroupOptions, type PreparedCollective } from "./group.ts";
export { type JoinGroupOptions, joinGroup } from "./join.ts";
export { openTransport, type TransportSpec } from "./open-transport.ts";
export type { ReduceOp } from "./reduction.ts";
export { partOf, type Range } from "./schedule.ts";
export { listenOn } from "./sockets/address.ts";
export { createThreadGroup, freeThreadGroup, type ThreadGroup, threadDied, threadTransport } from "./threads.ts";
export type { SharedBuffer, SharedMemory, Transport } from "./transport.ts";
