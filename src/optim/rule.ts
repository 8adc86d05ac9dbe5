// What optimizers compute: each as one update rule, which the compiler turns into one pass over memory for dense parameters
// and for sparse rows alike.
import type { Expr } from "../kernels/expr.ts";
import * as e from "../kernels/expr.ts";
import type { UpdateRule } from "../kernels/update-rule.ts";
import type { Optimizer } from "./optimizer.ts";
import { learningRateAt } from "./schedule.ts";

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
    case "rmsprop": {
      const { alpha, epsilon, centered } = optimizer;
      const grad = decayed(optimizer.weightDecay);
      const slots = ["square", ...(centered ? ["mean"] : []), ...(optimizer.momentum > 0 ? ["velocity"] : [])];
      const slot = (name: string): Expr => e.input(2 + slots.indexOf(name));
      const square = e.add(e.mul(slot("square"), alpha), e.mul(e.mul(grad, grad), 1 - alpha));
      const mean = centered ? e.add(e.mul(slot("mean"), alpha), e.mul(grad, 1 - alpha)) : undefined;
      // A variance that rounding has brought below 0 has no root.
      const spread = mean === undefined ? square : e.max(e.sub(square, e.mul(mean, mean)), 0);
      const scaled = e.div(grad, e.add(e.sqrt(spread), epsilon));
      const velocity = optimizer.momentum > 0 ? e.add(e.mul(slot("velocity"), optimizer.momentum), scaled) : undefined;
      return {
        slots: slots.map((name) => ({ name, initial: 0 })),
        scalars: [lrName],
        weight: e.sub(w, e.mul(e.input(2 + slots.length), velocity ?? scaled)),
        state: [square, mean, velocity].filter((expr) => expr !== undefined),
      };
    }
    case "lars": {
      const { trust, weightDecay } = optimizer;
      const lr = e.input(3);
      const [weightNorm, gradientNorm] = [meanNorm(w), meanNorm(g)];
      const quotient = e.div(e.mul(weightNorm, trust), e.add(gradientNorm, e.mul(weightNorm, weightDecay)));
      const localRate = e.mul(lr, whereBothPositive(weightNorm, gradientNorm, quotient));
      const velocity = e.add(e.mul(e.input(2), optimizer.momentum), e.mul(localRate, decayed(weightDecay)));
      return {
        slots: [{ name: "velocity", initial: 0 }],
        scalars: [lrName],
        weight: e.sub(w, velocity),
        state: [velocity],
      };
    }
    case "lamb": {
      const { beta1, beta2, epsilon, weightDecay } = optimizer;
      const [lr, correction1, correction2] = [e.input(4), e.input(5), e.input(6)];
      const m = e.add(e.mul(e.input(2), beta1), e.mul(g, 1 - beta1));
      const v = e.add(e.mul(e.input(3), beta2), e.mul(e.mul(g, g), 1 - beta2));
      const adam = e.div(e.mul(m, correction1), e.add(e.mul(e.sqrt(v), correction2), epsilon));
      const step = weightDecay === 0 ? adam : e.add(adam, e.mul(w, weightDecay));
      const [weightNorm, stepNorm] = [meanNorm(w), meanNorm(step)];
      const ratio = whereBothPositive(weightNorm, stepNorm, e.div(weightNorm, stepNorm));
      return {
        slots: [
          { name: "moment1", initial: 0 },
          { name: "moment2", initial: 0 },
        ],
        scalars: [lrName, `${group}.correction1`, `${group}.correction2`],
        weight: e.sub(w, e.mul(e.mul(lr, ratio), step)),
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

/** ‖x‖ over the root of the number of elements, which drops out of quotients of norms. */
const meanNorm = (x: Expr): Expr => e.sqrt(e.rowMean(e.mul(x, x)));

const whereBothPositive = (a: Expr, b: Expr, value: Expr): Expr =>
  e.select(e.gt(a, 0), e.select(e.gt(b, 0), value, 1), 1);

/**
 * The per-step numbers of `updateRule(optimizer, group).scalars`, in the same order.
 * @param step optimizer steps done before this one, from 0
 */
export function scalarAt(optimizer: Optimizer, scalar: string, step: number): number {
  const lr = learningRateAt(optimizer.lr, step);
  const name = scalar.slice(scalar.lastIndexOf(".") + 1);
  if (name === "lr") return lr;
  if (optimizer.name === "adam" || optimizer.name === "adamw" || optimizer.name === "lamb") {
    const correction1 = 1 / (1 - optimizer.beta1 ** (step + 1));
    if (name === "stepSize") return lr * correction1;
    if (name === "correction1") return correction1;
    if (name === "correction2") return 1 / Math.sqrt(1 - optimizer.beta2 ** (step + 1));
  }
  throw new Error(`optimizer ${optimizer.name} has no scalar "${scalar}"`);
}
