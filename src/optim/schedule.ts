// Learning-rate schedules: the rate at each step.
import type { LearningRate } from "./learning-rate.ts";

/**
 * The rate at a step.
 * @param step optimizer steps done before this one, from 0
 */
export function learningRateAt(rate: LearningRate, step: number): number {
  if (typeof rate === "number") return rate;
  switch (rate.kind) {
    case "constant":
      return rate.lr;
    case "step":
      return rate.lr * rate.gamma ** Math.floor(step / rate.every);
    case "multi-step":
      return rate.lr * rate.gamma ** rate.at.reduce((n, at) => n + (step >= at ? 1 : 0), 0);
    case "cosine": {
      const progress = Math.min(1, step / rate.total);
      return rate.floor + ((rate.lr - rate.floor) * (1 + Math.cos(Math.PI * progress))) / 2;
    }
    case "polynomial": {
      const left = 1 - Math.min(1, step / rate.total);
      return rate.floor + (rate.lr - rate.floor) * left ** rate.power;
    }
    case "noam": {
      const t = step + 1;
      return rate.factor * rate.dim ** -0.5 * Math.min(t ** -0.5, t * rate.warmup ** -1.5);
    }
    case "warmup":
      return step < rate.warmup
        ? (learningRateAt(rate.after, 0) * (step + 1)) / rate.warmup
        : learningRateAt(rate.after, step - rate.warmup);
    default:
      return rate satisfies never;
  }
}
