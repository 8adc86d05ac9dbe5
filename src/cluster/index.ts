// This process's place in a job of many, and the coordinator through which they find and await each other.
export { listenAddress, reachableAddress } from "./addresses.ts";
export { Changes } from "./changes.ts";
export { Coordinator, type CoordinatorOptions } from "./coordinator.ts";
export { type Environment, isJobName, jobNameForm } from "./environment.ts";
export { ClusterError } from "./error.ts";
export { formatDuration, formatTime } from "./format.ts";
export { Member, type MemberOptions } from "./member.ts";
export type { Place } from "./membership.ts";
export { expandNodeList } from "./node-list.ts";
export {
  announceHost,
  awaitRendezvous,
  hasRendezvous,
  openRendezvous,
  type Rendezvous,
  removeRendezvous,
  settleWorld,
} from "./rendezvous.ts";
export { type Task, taskFromEnvironment } from "./schedulers.ts";
export type {
  BarrierOptions,
  JoinOptions,
  MemberEvent,
  MemberInfo,
  MemberState,
  Membership,
  Report,
  Role,
  SetOptions,
  WaitOptions,
  WorkQueue,
  WorkUnit,
} from "./types.ts";
export { environmentOf, type World, worldFromEnvironment, worldOfTask } from "./world.ts";
