// The strategy: the one object that says how training is spread, with every switch named as the field names it.
import { z } from "zod";
import { allReduceAlgorithms } from "../collective/index.ts";
import { tableChoicesSchema } from "../ps/index.ts";
import { lossScaleSchema } from "./loss-scale-options.ts";

const strategySchema = z.strictObject({
  /**
   * - `async`: threads update the shared parameters without locks, each with its own batch (Hogwild, arXiv 1106.5730);
   * - `sync`: every step averages the threads' gradients: equal to one thread with the union of their batches, but that
   *   batch norm normalises each thread's rows by themselves and keeps the first thread's running statistics.
   *
   * With parameter servers (docs/parameter-server.md) also which processes wait for which:
   * - `async`: nobody waits; gradients are merged and sent in the background;
   * - `sync`: all threads of all workers wait for each other in every step;
   * - `half-async`: the threads of a worker wait for each other, workers do not;
   * - `geo`: workers train copies of their own and exchange what changed now and then (Geo-SGD).
   *
   * Without servers, for dense models (docs/data-parallel.md):
   * - `collective`: every worker has the whole model; each step sums the gradients of all: equal to one thread with the union
   *   of their batches, as `sync` within a process.
   */
  mode: z.enum(["async", "sync", "half-async", "geo", "collective"]).default("async"),
  /** Mode `geo`: after how many batches a worker exchanges with the servers. PaddlePaddle advises 25 × threads. */
  geo: z.strictObject({ every: z.int().min(1).default(100) }).optional(),
  /** How gradients and rows travel between workers, or to servers and back; sums and weights stay f32. Default "f32". */
  wire: z.enum(["f32", "f16", "bf16"]).optional(),
  /**
   * How servers keep what they have acknowledged: "journal" (default): nothing is lost when one dies; "snapshot": what came
   * after the last snapshot, a minute at most; "none": all.
   */
  durability: z.enum(["journal", "snapshot", "none"]).optional(),
  /**
   * Of tables on servers, by name: `accessor` counts shows and clicks of rows, by which `shrink` and saves choose; `admission`
   * says which new ids get weights.
   */
  tables: z.record(z.string(), tableChoicesSchema).optional(),
  /** Mode `async`: batches of each thread whose rows are pulled while it computes; default 1. More hides slower servers, with older rows. */
  prefetch: z.int().min(1).max(64).optional(),
  /** Mode `async`: batches whose gradients may wait to be sent, of all threads together; default 16. */
  sendQueueSize: z.int().min(1).max(1024).optional(),
  /**
   * Mode `async`: so many batches a push waits for, and merges at most: fewer and larger pushes, of older gradients. Default:
   * it waits for as many as there are threads, and merges all that wait.
   */
  maxMergeGrads: z.int().min(1).max(1024).optional(),
  /**
   * Mode `async`: how often, 10 ms apart, an empty queue is looked at before fewer batches are pushed than are wanted;
   * default 5.
   */
  sendWaitTimes: z.int().min(0).max(1000).optional(),
  /** Mode `collective`: gradients travel in buckets of so many bytes, as the backward pass gives them; default 32 MB. */
  fuseBytes: z.int().min(4).optional(),
  /** Mode `collective`: the most bytes of the last bucket, whose way nothing hides; default 1 MB. */
  lastBucketBytes: z.int().min(0).optional(),
  /** Mode `collective`: buckets travel while the backward pass goes on; default true. */
  overlap: z.boolean().optional(),
  /** Mode `collective`: how gradients are summed (docs/collectives.md); default the fastest by the cost model. */
  algorithm: z.enum(["auto", ...allReduceAlgorithms]).optional(),
  /** Of `algorithm` "hierarchical" and "torus": ranks of a group, or of a row. */
  groupSize: z.int().min(1).optional(),
  /** Mode `collective`: communication threads, each with connections of its own, among which buckets take turns; default 1. */
  streams: z.int().min(1).max(16).optional(),
  /** Mode `collective`: batch norm takes the statistics of the rows of all ranks, not of each by itself. One thread a rank. */
  syncBatchNorm: z.boolean().optional(),
  /**
   * Mode `collective`, SGD and momentum only: ranks train apart and take the mean of what they have changed every `steps`
   * steps, from step `begin` on; before that, after every step (LocalSGD, arXiv 1808.07217).
   */
  localSGD: z.strictObject({ steps: z.int().min(1), begin: z.int().min(0).default(0) }).optional(),
  /**
   * As `localSGD`, with a number of steps that follows the loss and the learning rate, from 1 to 16:
   * ⌈√(initSteps · rate₀·loss / (rate·loss₀))⌉.
   */
  adaptiveLocalSGD: z
    .strictObject({ initSteps: z.int().min(1).max(16).default(1), begin: z.int().min(0).default(0) })
    .optional(),
  /**
   * Mode `collective`, SGD and momentum only: of long gradients ranks send the largest numbers, and keep the rest until it has
   * grown (deep gradient compression, arXiv 1712.01887). One thread a rank.
   */
  dgc: z
    .strictObject({
      /** Steps before the first that compresses. */
      rampupBegin: z.int().min(0).default(0),
      /** Steps over which the stages of `sparsity` follow each other. */
      rampupSteps: z.int().min(1).default(1000),
      /** Which share of the numbers stays behind. */
      sparsity: z.array(z.number().min(0).lt(1)).min(1).max(16).default([0.75, 0.9375, 0.984375, 0.996, 0.999]),
      /** Bounds the gradient of each parameter before it is gathered: its norm is at most this · ranks^−½ on each rank. */
      clipNorm: z.number().positive().optional(),
      /** Gradients of fewer numbers go whole. */
      minElements: z.int().min(1).default(16384),
    })
    .optional(),
  /**
   * Mode `collective`: training goes on when workers die, while at least `min` are left. These go on from the state of the one
   * that had come furthest; a worker that is started again joins them when the next epoch begins.
   */
  elastic: z.strictObject({ min: z.int().min(1) }).optional(),
  /**
   * Bounds gradients before the optimizer sees them; in mode `sync` those of the union batch. `value`: each element;
   * `norm`: the gradient of each parameter; `globalNorm`: all gradients together, as PyTorch's `clip_grad_norm_`. The
   * norms do not serve models with tables, whose batches have the gradients of a few rows.
   */
  clip: z
    .union([
      z.strictObject({ value: z.number().positive() }),
      z.strictObject({ norm: z.number().positive() }),
      z.strictObject({ globalNorm: z.number().positive() }),
    ])
    .optional(),
  /**
   * Steps whose gradients are gathered before the optimizer takes one: as large a batch in the memory of a small one. Rates
   * count steps of the optimizer. The last group of an epoch may be smaller. Not for models with tables.
   */
  gradientMerge: z.number().int().min(1).optional(),
  /**
   * Decay of an exponential moving average of the dense weights, a ← ema·a + (1 − ema)·w after every step of the optimizer;
   * evaluations and predictions take it with `weights: "ema"`.
   */
  ema: z.number().gt(0).lt(1).optional(),
  /**
   * Mixed precision: products and convolutions in half precision, weights, sums, norms and losses in f32. "bf16" runs at
   * twice the rate of f32 where the processor has it (avx512_bf16, by oneDNN) and is emulated elsewhere; "fp16" is emulated
   * and scales its losses. Not for models with tables in "fp16".
   */
  amp: z.enum(["bf16", "fp16"]).optional(),
  /**
   * Kinds of ops ("conv2d", "softmax") or scopes of the model ("layer/3") to compute in half precision (`white`), in f32
   * (`black`), or as their operands are (`gray`), beside the built-in lists.
   */
  ampLists: z
    .strictObject({
      white: z.array(z.string().min(1)).optional(),
      black: z.array(z.string().min(1)).optional(),
      gray: z.array(z.string().min(1)).optional(),
    })
    .optional(),
  /** The dynamic loss scale of "fp16". */
  lossScale: lossScaleSchema.optional(),
  /**
   * Keeps less of the forward pass and computes the rest again in the backward pass: less memory for more arithmetic, the
   * same numbers. `segments`: "auto" chooses by the sizes, a number cuts the model into so many parts, names of scopes
   * ("layer/3") are the parts themselves.
   */
  recompute: z
    .strictObject({
      segments: z
        .union([z.literal("auto"), z.number().int().min(2), z.array(z.string().min(1)).min(1)])
        .default("auto"),
    })
    .optional(),
  debug: z
    .strictObject({
      /** Looks after every instruction for NaN and infinities; the first one ends training and is named. Slow. */
      nan: z.boolean().default(false),
    })
    .optional(),
  /**
   * Whether 3×3 convolutions in f32 may take Winograd's algorithm where it is faster: about twice the speed of the
   * definition, and twice its rounding errors, in gradients of weights up to five times.
   */
  winograd: z.boolean().default(true),
  /** Runs repeat to the bit: one reader deals out the data, and no measurement chooses between ways of a product. */
  deterministic: z.boolean().default(false),
});

const COLLECTIVE_ONLY = [
  "fuseBytes",
  "lastBucketBytes",
  "overlap",
  "algorithm",
  "groupSize",
  "streams",
  "localSGD",
  "adaptiveLocalSGD",
  "syncBatchNorm",
  "dgc",
  "elastic",
] as const;
const ASYNC_ONLY = ["prefetch", "sendQueueSize", "maxMergeGrads", "sendWaitTimes"] as const;

export type Strategy = Readonly<z.infer<typeof strategySchema>>;
export type StrategyOptions = z.input<typeof strategySchema>;

/** Fills in defaults; an unknown switch or value is refused by name, with what is allowed. */
export function parseStrategy(options: StrategyOptions = {}): Strategy {
  const parsed = strategySchema.safeParse(options);
  if (parsed.success) {
    const { deterministic, mode, amp, ampLists, lossScale } = parsed.data;
    if (ampLists !== undefined && amp === undefined) {
      throw new Error('strategy: ampLists needs amp: "bf16" or "fp16"');
    }
    if (lossScale !== undefined && amp !== "fp16") {
      throw new Error('strategy: lossScale is for amp: "fp16"; bf16 has the range of f32 and needs none');
    }
    if (parsed.data.geo !== undefined && mode !== "geo") {
      throw new Error(`strategy: geo is for mode "geo", this is mode "${mode}"; leave it out, or take mode: "geo"`);
    }
    const stray = ASYNC_ONLY.find((name) => parsed.data[name] !== undefined);
    if (stray !== undefined && mode !== "async") {
      throw new Error(`strategy: ${stray} is for mode "async"; in mode "${mode}" nothing is sent in the background`);
    }
    const strange = COLLECTIVE_ONLY.find((name) => parsed.data[name] !== undefined);
    if (strange !== undefined && mode !== "collective") {
      throw new Error(`strategy: ${strange} is for mode "collective", this is mode "${mode}"`);
    }
    if (deterministic && mode !== "sync" && mode !== "collective") {
      throw new Error(
        `strategy: deterministic: true does not combine with mode "${mode}", whose threads race for the parameters; take mode: "sync"`,
      );
    }
    return parsed.data;
  }
  throw new Error(
    `strategy: ${z.prettifyError(parsed.error)}\nswitches: ${Object.keys(strategySchema.shape).join(", ")}; modes: ${strategySchema.shape.mode.unwrap().options.join(", ")}`,
  );
}

/** Whether ranks train apart for some steps. */
export const isLocal = ({ localSGD, adaptiveLocalSGD }: Strategy): boolean =>
  localSGD !== undefined || adaptiveLocalSGD !== undefined;

/** The mode of a job with parameter servers. */
export function servedMode({ mode }: Strategy): Exclude<Strategy["mode"], "collective"> {
  if (mode === "collective") throw new Error('mode "collective" has no parameter servers');
  return mode;
}

/** How the threads of a process meet. */
export const threadMode = ({ mode }: Strategy): "sync" | "async" =>
  mode === "sync" || mode === "half-async" || mode === "collective" ? "sync" : "async";

/** How a reader deals out batches: threads that step together get the same ones in every run. */
export const dealing = (strategy: Strategy): { turns: boolean; readers?: number } => ({
  turns: threadMode(strategy) === "sync",
  ...(strategy.deterministic && { readers: 1 }),
});
