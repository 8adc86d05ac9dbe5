// For tests: the optimizers once more, straight from their papers, in float64 loops that share nothing with the rules.
import type { Optimizer } from "./optimizer.ts";
import { adagrad, adagradShared, adam, adamw, ftrl, lamb, lars, momentum, rmsprop, sgd } from "./optimizer.ts";

/** One weight vector (a dense parameter or a sparse row) under an optimizer. */
export class PlainOptimizer {
  readonly weight: Float64Array;
  readonly #optimizer: Optimizer;
  readonly #a: Float64Array;
  readonly #b: Float64Array;
  readonly #c: Float64Array;
  #shared = 0;

  constructor(optimizer: Optimizer, start: Iterable<number>) {
    this.#optimizer = optimizer;
    this.weight = Float64Array.from(start);
    this.#a = new Float64Array(this.weight.length);
    this.#b = new Float64Array(this.weight.length);
    this.#c = new Float64Array(this.weight.length);
    if (optimizer.name === "adagrad") this.#a.fill(optimizer.initialAccumulator);
  }

  /** @param step the trainer's step, from 0: what bias corrections count */
  step(gradient: ArrayLike<number>, lr: number, step: number): void {
    const { weight: w } = this;
    const options = this.#optimizer;
    if (options.name === "adagradShared") {
      const scale = Math.sqrt(options.initial / (options.initial + this.#shared));
      let squares = 0;
      for (let i = 0; i < w.length; i++) squares += gradient[i]! ** 2;
      for (let i = 0; i < w.length; i++) w[i]! -= lr * scale * gradient[i]!;
      this.#shared += squares / w.length;
      return;
    }
    if (options.name === "lars") {
      const [weightNorm, gradientNorm] = [norm(w), norm(gradient)];
      const ratio = (options.trust * weightNorm) / (gradientNorm + options.weightDecay * weightNorm);
      const rate = weightNorm > 0 && gradientNorm > 0 ? lr * ratio : lr;
      for (let i = 0; i < w.length; i++) {
        this.#a[i] = options.momentum * this.#a[i]! + rate * (gradient[i]! + options.weightDecay * w[i]!);
      }
      for (let i = 0; i < w.length; i++) w[i]! -= this.#a[i]!;
      return;
    }
    if (options.name === "lamb") {
      for (let i = 0; i < w.length; i++) {
        const { mean, variance } = this.#moments(i, gradient[i]!, step + 1, options);
        this.#c[i] = mean / (Math.sqrt(variance) + options.epsilon) + options.weightDecay * w[i]!;
      }
      const [weightNorm, stepNorm] = [norm(w), norm(this.#c)];
      const ratio = weightNorm > 0 && stepNorm > 0 ? weightNorm / stepNorm : 1;
      for (let i = 0; i < w.length; i++) w[i]! -= lr * ratio * this.#c[i]!;
      return;
    }
    for (let i = 0; i < w.length; i++) this.#element(i, gradient[i]!, lr, step + 1);
  }

  /** Adam's moments after gradient g, corrected. */
  #moments(i: number, g: number, t: number, options: { readonly beta1: number; readonly beta2: number }) {
    const [a, b] = [this.#a, this.#b];
    a[i] = options.beta1 * a[i]! + (1 - options.beta1) * g;
    b[i] = options.beta2 * b[i]! + (1 - options.beta2) * g * g;
    return { mean: a[i]! / (1 - options.beta1 ** t), variance: b[i]! / (1 - options.beta2 ** t) };
  }

  #element(i: number, g: number, lr: number, t: number): void {
    const [w, a, b, c, options] = [this.weight, this.#a, this.#b, this.#c, this.#optimizer];
    switch (options.name) {
      case "sgd":
        w[i]! -= lr * (g + options.weightDecay * w[i]!);
        break;
      case "momentum": {
        const d = g + options.weightDecay * w[i]!;
        a[i] = options.momentum * a[i]! + d;
        w[i]! -= lr * (options.nesterov ? d + options.momentum * a[i]! : a[i]!);
        break;
      }
      case "adagrad": {
        const d = g + options.weightDecay * w[i]!;
        a[i]! += d * d;
        w[i]! -= (lr * d) / (Math.sqrt(a[i]!) + options.epsilon);
        break;
      }
      case "adam":
      case "adamw": {
        const d = options.name === "adam" ? g + options.weightDecay * w[i]! : g;
        if (options.name === "adamw") w[i]! -= lr * options.weightDecay * w[i]!;
        const { mean, variance } = this.#moments(i, d, t, options);
        w[i]! -= (lr * mean) / (Math.sqrt(variance) + options.epsilon);
        break;
      }
      case "rmsprop": {
        const d = g + options.weightDecay * w[i]!;
        a[i] = options.alpha * a[i]! + (1 - options.alpha) * d * d;
        if (options.centered) b[i] = options.alpha * b[i]! + (1 - options.alpha) * d;
        c[i] = options.momentum * c[i]! + d / (Math.sqrt(a[i]! - b[i]! ** 2) + options.epsilon);
        w[i]! -= lr * c[i]!;
        break;
      }
      case "ftrl": {
        const sigma = (Math.sqrt(b[i]! + g * g) - Math.sqrt(b[i]!)) / lr;
        a[i]! += g - sigma * w[i]!;
        b[i]! += g * g;
        const denominator = (options.beta + Math.sqrt(b[i]!)) / lr + options.l2;
        w[i] = Math.abs(a[i]!) <= options.l1 ? 0 : -(a[i]! - Math.sign(a[i]!) * options.l1) / denominator;
        break;
      }
      case "adagradShared":
      case "lars":
      case "lamb":
        break;
      default:
        options satisfies never;
    }
  }
}

const norm = (x: ArrayLike<number>): number => Math.hypot(...Array.from(x));

/** Every optimizer, with its options at work. */
export const optimizers: Readonly<Record<string, Optimizer>> = {
  sgd: sgd({ lr: 0.1 }),
  "sgd with weight decay": sgd({ lr: 0.1, weightDecay: 0.05 }),
  momentum: momentum({ lr: 0.02 }),
  Nesterov: momentum({ lr: 0.02, momentum: 0.8, nesterov: true, weightDecay: 0.02 }),
  adagrad: adagrad({ lr: 0.2 }),
  "adagrad with decay": adagrad({ lr: 0.2, initialAccumulator: 0.3, epsilon: 1e-3, weightDecay: 0.02 }),
  adagradShared: adagradShared({ lr: 0.2, initial: 2 }),
  adam: adam({ lr: 0.02 }),
  "adam with decay": adam({ lr: 0.02, beta1: 0.7, beta2: 0.95, epsilon: 1e-3, weightDecay: 0.05 }),
  adamw: adamw({ lr: 0.02, weightDecay: 0.1 }),
  rmsprop: rmsprop({ lr: 0.02 }),
  "rmsprop with momentum": rmsprop({ lr: 0.01, alpha: 0.9, momentum: 0.8, weightDecay: 0.02 }),
  "rmsprop, centered": rmsprop({ lr: 0.01, alpha: 0.8, epsilon: 1e-2, momentum: 0.5, centered: true }),
  lars: lars({ lr: 2, trust: 0.05, weightDecay: 0.1 }),
  "lars without decay": lars({ lr: 0.5, momentum: 0.5, trust: 0.02, weightDecay: 0 }),
  lamb: lamb({ lr: 0.05 }),
  "lamb with decay": lamb({ lr: 0.02, beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weightDecay: 0.3 }),
  ftrl: ftrl({ lr: 0.3 }),
  "ftrl that shrinks": ftrl({ lr: 0.3, beta: 0.5, l1: 0.4, l2: 0.1 }),
  "a schedule": adam({
    lr: { kind: "warmup", warmup: 10, after: { kind: "cosine", lr: 0.05, total: 60, floor: 0.001 } },
  }),
};
