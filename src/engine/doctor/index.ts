// What this machine can do, and how to make it faster.
export { type FetchOptions, type FetchResult, fetchOneDnn } from "./fetch.ts";
export { type CpuFeatures, describeMachine, type Machine } from "./machine.ts";
export { type Probe, type ProbeOptions, type ProviderReport, probe } from "./probe.ts";
export { measureSpeed, type Speed, type SpeedCase, type SpeedTask } from "./speed.ts";
