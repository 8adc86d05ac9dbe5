// The job: this process's place in the fleet, its heap, its compute provider and its trainer threads.
import { availableParallelism } from "node:os";
import { z } from "zod";
import { type World, worldFromEnvironment } from "../cluster/index.ts";
import { type ProviderDescription, type ProviderName, selectProvider } from "../engine/providers/index.ts";
import { Heap, MAX_HEAP_BYTES } from "../memory/index.ts";
import type { Model } from "../models/index.ts";
import { alone, type Place, takePlace } from "./place.ts";
import { TrainerPool } from "./pool.ts";
import type { Servers } from "./servers.ts";
import { Trainer, type TrainerOptions } from "./trainer.ts";
import type { Workers } from "./workers.ts";

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
  /** Addresses of partitions of parameter servers that run already. Default: those that `flotilla launch` has started. */
  servers: z.array(z.string().min(1)).min(1).readonly().optional(),
  /** This process's place in a job. Default: what the environment says. */
  world: z.custom<World>((value) => typeof value === "object" && value !== null).optional(),
});

export type InitOptions = z.input<typeof initSchema>;

export class Job {
  /** Trainer threads of this process. */
  readonly threads: number;
  readonly heap: Heap;
  readonly provider: ProviderDescription;
  readonly pool: TrainerPool;
  /** All workers of the job. */
  readonly workers: Workers;
  /** What the environment says of this process's place. */
  readonly world: World;
  /** The parameter servers, where the job has some. */
  readonly servers: Servers | undefined;
  /** What must be closed before this process leaves the job. */
  readonly closing: Set<{ close(): Promise<void> }> = new Set();
  readonly #leave: () => Promise<void>;

  constructor(threads: number, heap: Heap, provider: ProviderDescription, place: Place = alone) {
    this.workers = place.workers;
    this.world = place.world;
    this.servers = place.servers;
    this.#leave = place.leave;
    this.threads = threads;
    this.heap = heap;
    this.provider = provider;
    this.pool = new TrainerPool(heap, threads);
  }

  /** This process's number among the workers that train together, from 0. With `elastic` it changes when one dies. */
  get rank(): number {
    return this.workers.rank;
  }

  /** How many workers train together. */
  get worldSize(): number {
    return this.workers.workers;
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
    await Promise.all([...this.closing].map((each) => each.close()));
    await this.pool.close();
    await this.#leave();
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
  const { engine, maxBytes, servers, world = worldFromEnvironment() } = parsed.data;
  const { threads = world.threads ?? availableParallelism() } = parsed.data;
  const heap = Heap.create({ maxBytes });
  const provider = selectProvider(heap, engine === "auto" ? {} : { prefer: engine }).describe();
  if (engine !== "auto" && provider.name !== engine) {
    throw new Error(
      `fleet.init: engine "${engine}" is not to be had: ${provider.reason ?? "FLOTILLA_PROVIDER overrules it"}; see \`flotilla doctor\``,
    );
  }
  return new Job(threads, heap, provider, await takePlace(world, servers));
}
