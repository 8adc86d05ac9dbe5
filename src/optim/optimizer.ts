// Optimizers as values: a name and its hyperparameters, checked. What they compute is in rule.ts.
import { z } from "zod";
import { learningRateSchema } from "./learning-rate.ts";

const rate = (fallback: number) => learningRateSchema.default(fallback);
const nonnegative = z.number().nonnegative();
const fraction = z.number().min(0).lt(1);

const schemas = {
  /** `w −= lr·(g + weightDecay·w)` */
  sgd: z.strictObject({ lr: rate(0.05), weightDecay: nonnegative.default(0) }),
  /** `u = momentum·u + g; w −= lr·u`, Nesterov: `w −= lr·(g + momentum·u)` (arXiv 1212.0901; as PyTorch writes it). */
  momentum: z.strictObject({
    lr: rate(0.05),
    momentum: fraction.default(0.9),
    nesterov: z.boolean().default(false),
    weightDecay: nonnegative.default(0),
  }),
  /**
   * One accumulator an element (Duchi et al. 2011): `G += g²; w −= lr·g/(√G + epsilon)`. The first steps move each weight by
   * the whole rate: above 0.02 or so, deep click models overshoot and recover late.
   */
  adagrad: z.strictObject({
    lr: rate(0.02),
    epsilon: z.number().positive().default(1e-10),
    initialAccumulator: nonnegative.default(0),
    weightDecay: nonnegative.default(0),
  }),
  /** One accumulator a sparse row (PaddlePaddle): `w −= lr·g·√(g0/(g0+G)); G += mean(g²)`. A dense parameter is one row. */
  adagradShared: z.strictObject({ lr: rate(0.05), initial: z.number().positive().default(3) }),
  /** arXiv 1412.6980, with bias correction; rows that a batch does not touch keep their moments. */
  adam: z.strictObject({
    lr: rate(1e-3),
    beta1: fraction.default(0.9),
    beta2: fraction.default(0.999),
    epsilon: z.number().positive().default(1e-8),
    weightDecay: nonnegative.default(0),
  }),
  /** Adam with decoupled weight decay (arXiv 1711.05101). */
  adamw: z.strictObject({
    lr: rate(1e-3),
    beta1: fraction.default(0.9),
    beta2: fraction.default(0.999),
    epsilon: z.number().positive().default(1e-8),
    weightDecay: nonnegative.default(0.01),
  }),
  /**
   * Gradients by the root of their running mean square (Hinton's lecture 6e; options and order of operations as PyTorch's):
   * `v = alpha·v + (1 − alpha)·g²; w −= lr·g/(√v + epsilon)`. `centered` takes the variance instead of the mean square,
   * `momentum` sums the steps: `u = momentum·u + g/(√v + epsilon); w −= lr·u`.
   */
  rmsprop: z.strictObject({
    lr: rate(1e-2),
    alpha: fraction.default(0.99),
    epsilon: z.number().positive().default(1e-8),
    momentum: fraction.default(0),
    centered: z.boolean().default(false),
    weightDecay: nonnegative.default(0),
  }),
  /**
   * Momentum at a rate of each parameter's own (arXiv 1708.03888): `r = lr·trust·‖w‖/(‖g‖ + weightDecay·‖w‖)`, plain `lr`
   * where a norm is 0; `u = momentum·u + r·(g + weightDecay·w); w −= u`. Norms are those of the whole parameter.
   */
  lars: z.strictObject({
    lr: rate(0.1),
    momentum: fraction.default(0.9),
    trust: z.number().positive().default(1e-3),
    weightDecay: nonnegative.default(5e-4),
  }),
  /**
   * Adam's step, brought to the size of the parameter that it moves (arXiv 1904.00962): `s = m̂/(√v̂ + epsilon) +
   * weightDecay·w; w −= lr·s·‖w‖/‖s‖`, without the quotient where a norm is 0. Norms are those of the whole parameter.
   */
  lamb: z.strictObject({
    lr: rate(1e-3),
    beta1: fraction.default(0.9),
    beta2: fraction.default(0.999),
    epsilon: z.number().positive().default(1e-6),
    weightDecay: nonnegative.default(0.01),
  }),
  /**
   * FTRL-proximal with per-coordinate rates (McMahan et al. 2013); the usual choice for a wide, sparse, linear part. Its
   * rate is constant: weights are computed anew from sums over all steps, so a rate that decays would shrink them to 0.
   */
  ftrl: z
    .strictObject({
      lr: z.number().positive().default(0.05),
      beta: nonnegative.default(1),
      l1: nonnegative.default(0),
      l2: nonnegative.default(0),
    })
    .refine(({ beta, l2 }) => beta + l2 > 0, {
      message: "must be above 0 where l2 is 0: a weight without gradient would be 0/0",
      path: ["beta"],
    }),
} as const;

type Schemas = typeof schemas;
export type OptimizerName = keyof Schemas;
export const optimizerNames = Object.keys(schemas) as readonly OptimizerName[];
export type OptimizerOptions<K extends OptimizerName> = z.input<Schemas[K]>;

/** An optimizer and its hyperparameters, as plain data. */
export type Optimizer = { [K in OptimizerName]: { readonly name: K } & Readonly<z.infer<Schemas[K]>> }[OptimizerName];

function make<K extends OptimizerName>(name: K, options: OptimizerOptions<K> = {} as OptimizerOptions<K>): Optimizer {
  const parsed = schemas[name].safeParse(options);
  if (!parsed.success) {
    throw new Error(
      `optim.${name}: ${z.prettifyError(parsed.error)}\nallowed: ${Object.keys(schemas[name].shape).join(", ")}`,
    );
  }
  return { name, ...parsed.data } as Optimizer;
}

export const sgd = (options?: OptimizerOptions<"sgd">): Optimizer => make("sgd", options);
export const momentum = (options?: OptimizerOptions<"momentum">): Optimizer => make("momentum", options);
export const adagrad = (options?: OptimizerOptions<"adagrad">): Optimizer => make("adagrad", options);
export const adagradShared = (options?: OptimizerOptions<"adagradShared">): Optimizer => make("adagradShared", options);
export const adam = (options?: OptimizerOptions<"adam">): Optimizer => make("adam", options);
export const adamw = (options?: OptimizerOptions<"adamw">): Optimizer => make("adamw", options);
export const rmsprop = (options?: OptimizerOptions<"rmsprop">): Optimizer => make("rmsprop", options);
export const lars = (options?: OptimizerOptions<"lars">): Optimizer => make("lars", options);
export const lamb = (options?: OptimizerOptions<"lamb">): Optimizer => make("lamb", options);
export const ftrl = (options?: OptimizerOptions<"ftrl">): Optimizer => make("ftrl", options);

/**
 * Whether the rows of a table can be moved by it. LARS and LAMB cannot: their rates come from the norms of a whole parameter,
 * and a batch sees a few rows of it.
 */
export const servesTables = ({ name }: Pick<Optimizer, "name">): boolean => name !== "lars" && name !== "lamb";

/** Reads an optimizer from untrusted plain data, such as a configuration file or a checkpoint. */
export function parseOptimizer(value: unknown): Optimizer {
  const name = (value as { name?: unknown } | null)?.name;
  if (typeof name !== "string" || !Object.hasOwn(schemas, name)) {
    throw new Error(`optimizer ${JSON.stringify(name)} is unknown; choose one of ${optimizerNames.join(", ")}`);
  }
  const { name: _, ...options } = value as Record<string, unknown>;
  return make(name as OptimizerName, options as never);
}
