// Jobs of the ps benchmark: the training script in one process, or as workers beside servers.
import { fileURLToPath } from "node:url";
import { type JobPlace, runJob } from "./job.ts";
import type { PsMeasured, PsScript } from "./ps-script.ts";

const script = fileURLToPath(new URL("./ps-script.ts", import.meta.url));

export interface PsJob extends Omit<PsScript, "out">, JobPlace {}

/** Runs a job; returns what each worker measured. */
export const runPsJob = ({ workers, servers, hosts, ...options }: PsJob): Promise<PsMeasured[]> =>
  runJob({ workers, servers, threads: options.threads, ...(hosts && { hosts }) }, script, options);

/** Rows a second of all workers together. */
export const samplesPerSecond = (all: readonly PsMeasured[]): number =>
  all.reduce((sum, { samples }) => sum + samples, 0) / Math.max(...all.map(({ seconds }) => seconds));

/** A counter of all workers together. */
export const totalOf = (all: readonly PsMeasured[], name: string): number =>
  all.reduce((sum, { traffic }) => sum + (traffic?.[name] ?? 0), 0);
