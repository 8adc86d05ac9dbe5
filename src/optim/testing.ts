// For tests: the optimizers once more, straight from their papers, in float64 loops that share nothing with the rules.
import type { Optimizer } from "./optimizer.ts";
import { adagrad, adagradShared, adam, adamw, ftrl, momentum, sgd } from "./optimizer.ts";

/** One weight vector (a dense parameter or a sparse row) under an optimizer. */
export class PlainOptimizer {
  readonly weight: Float64Array;
  readonly #optimizer: Optimizer;
  readonly #a: Float64Array;
  readonly #b: Float64Array;
  #shared = 0;

  constructor(optimizer: Optimizer, start: Iterable<number>) {
    this.#optimizer = optimizer;
    this.weight = Float64Array.from(start);
    this.#a = new Float64Array(this.weight.length);
    this.#b = new Float64Array(this.weight.length);
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
    for (let i = 0; i < w.length; i++) this.#element(i, gradient[i]!, lr, step + 1);
  }

  #element(i: number, g: number, lr: number, t: number): void {
    const [w, a, b, options] = [this.weight, this.#a, this.#b, this.#optimizer];
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
        a[i] = options.beta1 * a[i]! + (1 - options.beta1) * d;
        b[i] = options.beta2 * b[i]! + (1 - options.beta2) * d * d;
        const mean = a[i]! / (1 - options.beta1 ** t);
        const variance = b[i]! / (1 - options.beta2 ** t);
        w[i]! -= (lr * mean) / (Math.sqrt(variance) + options.epsilon);
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
        break;
      default:
        options satisfies never;
    }
  }
}

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
  ftrl: ftrl({ lr: 0.3 }),
  "ftrl that shrinks": ftrl({ lr: 0.3, beta: 0.5, l1: 0.4, l2: 0.1 }),
  "a schedule": adam({
    lr: { kind: "warmup", warmup: 10, after: { kind: "cosine", lr: 0.05, total: 60, floor: 0.001 } },
  }),
};
