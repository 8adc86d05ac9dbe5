// This process's place in a job of many, and the coordinator through which they find and await each other.
export { ClusterError } from "./error.ts";
export { expandNodeList } from "./node-list.ts";
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
