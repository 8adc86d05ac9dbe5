// Optimizers as values: a name, its hyperparameters, and from them the update rule that the compiler turns into one
// pass over memory for dense parameters and for sparse rows alike.
import { z } from "zod";
import type { Expr } from "../kernels/expr.ts";
import * as e from "../kernels/expr.ts";
import type { UpdateRule } from "../kernels/update-rule.ts";
import { learningRateAt, learningRateSchema } from "./schedule.ts";

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
export const ftrl = (options?: OptimizerOptions<"ftrl">): Optimizer => make("ftrl", options);

/** Reads an optimizer from untrusted plain data, such as a configuration file or a checkpoint. */
export function parseOptimizer(value: unknown): Optimizer {
  const name = (value as { name?: unknown } | null)?.name;
  if (typeof name !== "string" || !Object.hasOwn(schemas, name)) {
    throw new Error(`optimizer ${JSON.stringify(name)} is unknown; choose one of ${optimizerNames.join(", ")}`);
  }
  const { name: _, ...options } = value as Record<string, unknown>;
  return make(name as OptimizerName, options as never);
}

/**
 * The update rule of an optimizer.
 * @param group prefix of its per-step scalars, so that parameter groups can have optimizers of their own
 */
export function updateRule(optimizer: Optimizer, group: string): UpdateRule {
  const w = e.input(0);
  const g = e.input(1);
  const lrName = `${group}.lr`;
  const decayed = (decay: number): Expr => (decay === 0 ? g : e.add(g, e.mul(w, decay)));
  switch (optimizer.name) {
    case "sgd":
      return {
        slots: [],
        scalars: [lrName],
        weight: e.sub(w, e.mul(e.input(2), decayed(optimizer.weightDecay))),
        state: [],
      };
    case "momentum": {
      const grad = decayed(optimizer.weightDecay);
      const velocity = e.add(e.mul(e.input(2), optimizer.momentum), grad);
      const step = optimizer.nesterov ? e.add(grad, e.mul(velocity, optimizer.momentum)) : velocity;
      return {
        slots: [{ name: "velocity", initial: 0 }],
        scalars: [lrName],
        weight: e.sub(w, e.mul(e.input(3), step)),
        state: [velocity],
      };
    }
    case "adagrad": {
      const grad = decayed(optimizer.weightDecay);
      const sum = e.add(e.input(2), e.mul(grad, grad));
      return {
        slots: [{ name: "sum", initial: optimizer.initialAccumulator }],
        scalars: [lrName],
        weight: e.sub(w, e.div(e.mul(e.input(3), grad), e.add(e.sqrt(sum), optimizer.epsilon))),
        state: [sum],
      };
    }
    case "adagradShared": {
      const sum = e.input(2);
      const g0 = optimizer.initial;
      const scale = e.sqrt(e.div(g0, e.add(sum, g0)));
      return {
        slots: [{ name: "sum", initial: 0, perRow: true }],
        scalars: [lrName],
        weight: e.sub(w, e.mul(e.mul(e.input(3), scale), g)),
        state: [e.add(sum, e.rowMean(e.mul(g, g)))],
      };
    }
    case "adam":
    case "adamw": {
      const { beta1, beta2, epsilon, weightDecay, name } = optimizer;
      const grad = name === "adam" ? decayed(weightDecay) : g;
      const m = e.add(e.mul(e.input(2), beta1), e.mul(grad, 1 - beta1));
      const v = e.add(e.mul(e.input(3), beta2), e.mul(e.mul(grad, grad), 1 - beta2));
      const stepSize = e.input(4);
      const correction2 = e.input(5);
      const step = e.div(e.mul(stepSize, m), e.add(e.mul(e.sqrt(v), correction2), epsilon));
      const kept = name === "adamw" ? e.mul(w, e.sub(1, e.mul(e.input(6), weightDecay))) : w;
      return {
        slots: [
          { name: "moment1", initial: 0 },
          { name: "moment2", initial: 0 },
        ],
        scalars: [`${group}.stepSize`, `${group}.correction2`, ...(name === "adamw" ? [lrName] : [])],
        weight: e.sub(kept, step),
        state: [m, v],
      };
    }
    case "ftrl": {
      const [z0, n0, lr] = [e.input(2), e.input(3), e.input(4)];
      const n = e.add(n0, e.mul(g, g));
      const sigma = e.div(e.sub(e.sqrt(n), e.sqrt(n0)), lr);
      const z1 = e.sub(e.add(z0, g), e.mul(sigma, w));
      const { l1, l2, beta } = optimizer;
      const shrunk = e.sub(z1, e.mul(e.sign(z1), l1));
      const moved = e.neg(e.div(shrunk, e.add(e.div(e.add(e.sqrt(n), beta), lr), l2)));
      return {
        slots: [
          { name: "z", initial: 0 },
          { name: "n", initial: 0 },
        ],
        scalars: [lrName],
        weight: l1 === 0 ? moved : e.select(e.le(e.abs(z1), l1), 0, moved),
        state: [z1, n],
      };
    }
    default:
      return optimizer satisfies never;
  }
}

/**
 * The per-step numbers of `updateRule(optimizer, group).scalars`, in the same order.
 * @param step optimizer steps done before this one, from 0
 */
export function scalarAt(optimizer: Optimizer, scalar: string, step: number): number {
  const lr = learningRateAt(optimizer.lr, step);
  const name = scalar.slice(scalar.lastIndexOf(".") + 1);
  if (name === "lr") return lr;
  if (optimizer.name === "adam" || optimizer.name === "adamw") {
    if (name === "stepSize") return lr / (1 - optimizer.beta1 ** (step + 1));
    if (name === "correction2") return 1 / Math.sqrt(1 - optimizer.beta2 ** (step + 1));
  }
  throw new Error(`optimizer ${optimizer.name} has no scalar "${scalar}"`);
}
