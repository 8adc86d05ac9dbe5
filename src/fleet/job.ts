// The job: this process's place in the fleet, its heap, its compute provider and its trainer threads.
import { availableParallelism } from "node:os";
import { z } from "zod";
import { type ProviderDescription, type ProviderName, selectProvider } from "../engine/providers/index.ts";
import { Heap, MAX_HEAP_BYTES } from "../memory/index.ts";
import type { Model } from "../models/index.ts";
import { TrainerPool } from "./pool.ts";
import { Trainer, type TrainerOptions } from "./trainer.ts";

const initSchema = z.strictObject({
  /** Trainer threads; default one a core. */
  threads: z.number().int().min(1).max(1024).optional(),
  /** What multiplies matrices: `auto` takes oneDNN where the system has it, else WASM. */
  engine: z.enum(["auto", "onednn", "wasm"]).default("auto"),
  /**
   * The most memory that parameters, tables and batches may take; default 4 GiB, limit 16 GiB. Above 4 GiB addresses have 64
   * bits, which costs WASM matrix products speed (docs/engine.md).
   */
  maxBytes: z
    .number()
    .int()
    .min(16 * 2 ** 20)
    .max(MAX_HEAP_BYTES)
    .default(2 ** 32),
});

export type InitOptions = z.input<typeof initSchema>;

export class Job {
  /** This process's number among the workers of the job, from 0. */
  readonly rank = 0;
  readonly worldSize = 1;
  /** Trainer threads of this process. */
  readonly threads: number;
  readonly heap: Heap;
  readonly provider: ProviderDescription;
  readonly pool: TrainerPool;

  constructor(threads: number, heap: Heap, provider: ProviderDescription) {
    this.threads = threads;
    this.heap = heap;
    this.provider = provider;
    this.pool = new TrainerPool(heap, threads);
  }

  /** Which engine computes: "onednn" or "wasm". */
  get engine(): ProviderName {
    return this.provider.name;
  }

  /** A trainer of this model; several may live side by side. */
  trainer(model: Model, options: TrainerOptions = {}): Trainer {
    this.pool.expectOpen();
    return new Trainer(this, model, options);
  }

  /** Ends the trainer threads. Trainers of this job can no longer be used. */
  async close(): Promise<void> {
    await this.pool.close();
  }
}

/**
 * Joins the job. Started plainly, the process is the whole job.
 * @throws TypeError for a wrong option, Error when the engine that was asked for is not there
 * @example
 * const job = await fleet.init({ threads: 4 });
 */
export async function init(options: InitOptions = {}): Promise<Job> {
  const parsed = initSchema.safeParse(options);
  if (!parsed.success) {
    throw new TypeError(
      `fleet.init: ${z.prettifyError(parsed.error)}\noptions: ${Object.keys(initSchema.shape).join(", ")}`,
    );
  }
  const { threads = availableParallelism(), engine, maxBytes } = parsed.data;
  const heap = Heap.create({ maxBytes });
  const provider = selectProvider(heap, engine === "auto" ? {} : { prefer: engine }).describe();
  if (engine !== "auto" && provider.name !== engine) {
    throw new Error(
      `fleet.init: engine "${engine}" is not to be had: ${provider.reason ?? "FLOTILLA_PROVIDER overrules it"}; see \`flotilla doctor\``,
    );
  }
  return new Job(threads, heap, provider);
}
