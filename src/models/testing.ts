// For tests: click models traced as the trainer traces them, and their forward passes once more, by hand, row by row.
import { uniformAt } from "../kernels/index.ts";
import { type Program, sigmoidCrossEntropy, type TensorType, trace } from "../program/index.ts";
import { type Feed, randomArray, randomFrom, randomWeights } from "../program/testing.ts";
import type { Model } from "./model.ts";

/** What a batch of the tests holds beside `label` and `weight`. */
export interface Shape {
  readonly rows: number;
  readonly dense: number;
  readonly categorical: number;
  /** Width by bag. */
  readonly bags: Readonly<Record<string, number>>;
}

/** The program with outputs `loss` (the sum over rows times `scalar:lossScale`) and `logits` [rows]. */
export function traced(model: Model, { rows, dense, categorical, bags }: Shape, training = true): Program {
  const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });
  const u64 = (width: number): TensorType => ({ shape: [rows, width], dtype: "u64" });
  const inputs: Record<string, TensorType> = {
    label: f32(rows),
    weight: f32(rows),
    ...(dense > 0 ? { dense: f32(rows, dense) } : {}),
    ...(categorical > 0 ? { categorical: u64(categorical) } : {}),
    ...Object.fromEntries(Object.entries(bags).map(([name, width]) => [name, u64(width)])),
  };
  return trace(
    (columns, ctx) => {
      const logits = model.forward(columns, ctx).reshape([rows]);
      const losses = sigmoidCrossEntropy(logits, columns.label!);
      return { loss: losses.mul(columns.weight!).sum().mul(ctx.scalar("lossScale")), logits };
    },
    { inputs, training },
  );
}

/** Random rows, all of weight 1; of the ids 1 to 9 and, here and there, 0: no feature. */
export function randomRows(shape: Shape, seed: number): Feed {
  const random = randomFrom(seed);
  const { rows, dense, categorical, bags } = shape;
  const ids = (width: number): BigUint64Array =>
    BigUint64Array.from({ length: rows * width }, () => BigInt(Math.floor(random() * 10)));
  return {
    label: Float64Array.from({ length: rows }, () => Math.floor(random() * 2)),
    weight: new Float64Array(rows).fill(1),
    ...(dense > 0 ? { dense: randomArray(random, rows * dense) } : {}),
    ...(categorical > 0 ? { categorical: ids(categorical) } : {}),
    ...Object.fromEntries(Object.entries(bags).map(([name, width]) => [name, ids(width)])),
    "scalar:lossScale": Float64Array.of(1 / rows),
    seed: Float64Array.of(77),
  };
}

/** The feed with only some rows, and the loss scaled by their number. */
export function selectRows(feed: Feed, { rows }: Shape, kept: readonly number[]): Feed {
  return Object.fromEntries(
    Object.entries(feed).map(([name, data]) => {
      if (name === "scalar:lossScale") return [name, Float64Array.of(1 / kept.length)];
      if (data.length % rows !== 0) return [name, data];
      const width = data.length / rows;
      const flat = kept.flatMap((row) => [...(data as Float64Array).subarray(row * width, (row + 1) * width)]);
      return [name, data instanceof BigUint64Array ? BigUint64Array.from(flat as never) : Float64Array.from(flat)];
    }),
  );
}

/** The feed as readers pad it: other rows than `kept` are 0, with weight 0. */
export function blankRows(feed: Feed, { rows }: Shape, kept: readonly number[]): Feed {
  return Object.fromEntries(
    Object.entries(feed).map(([name, data]) => {
      if (name === "scalar:lossScale") return [name, Float64Array.of(1 / kept.length)];
      if (data.length % rows !== 0) return [name, data];
      const copy = data.slice();
      for (let i = 0; i < copy.length; i++) {
        if (!kept.includes(Math.floor((i * rows) / copy.length)))
          copy[i] = copy instanceof BigUint64Array ? 0n : (0 as never);
      }
      return [name, copy];
    }),
  );
}

export type Parameters = Readonly<Record<string, Float64Array>>;

const zip = (a: readonly number[], b: readonly number[], f: (x: number, y: number) => number): number[] =>
  a.map((x, i) => f(x, b[i]!));
const plus = (a: readonly number[], b: readonly number[]): number[] => zip(a, b, (x, y) => x + y);
const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const activations = {
  relu: (x: number): number => Math.max(0, x),
  tanh: Math.tanh,
  sigmoid: (x: number): number => 1 / (1 + Math.exp(-x)),
};

interface Config {
  readonly dim: number;
  readonly hidden: readonly number[];
  readonly activation: keyof typeof activations;
  readonly norm: "none" | "batch" | "layer";
  readonly dropout: number;
  readonly crossLayers: number;
}

/** The models of src/models by hand: logits of every row. Table weights are those of `randomWeights`. */
export class PlainModel {
  readonly #name: string;
  readonly #config: Config;
  readonly #shape: Shape;
  readonly #parameters: Parameters;
  readonly #feed: Feed;
  readonly #training: boolean;

  constructor(model: Model, shape: Shape, parameters: Parameters, feed: Feed, training: boolean) {
    this.#name = model.name;
    this.#config = model.config as unknown as Config;
    this.#shape = shape;
    this.#parameters = parameters;
    this.#feed = feed;
    this.#training = training;
  }

  logits(): number[] {
    const rows = [...Array(this.#shape.rows).keys()];
    const first = rows.map((row) => this.#first(row));
    if (this.#name === "logisticRegression") return first;
    const pairs = rows.map((row) => this.#pairs(row));
    if (this.#name === "factorizationMachine") return plus(first, pairs);
    const inputs = rows.map((row) => this.#deepInput(row));
    const hidden = this.#perceptron(inputs);
    if (this.#name === "dcnV2") {
      return rows.map((row) => this.#linear("output", [...this.#cross(inputs[row]!), ...hidden[row]!], 1)[0]!);
    }
    const deep = plus(
      first,
      hidden.map((h) => this.#linear("output", h, 1, false)[0]!),
    );
    return this.#name === "deepFM" ? plus(deep, pairs) : deep;
  }

  #dense(row: number): number[] {
    const { dense } = this.#shape;
    return dense === 0 ? [] : [...(this.#feed.dense as Float64Array).subarray(row * dense, (row + 1) * dense)];
  }

  #ids(column: string, width: number, row: number): bigint[] {
    return [...(this.#feed[column] as BigUint64Array).subarray(row * width, (row + 1) * width)];
  }

  #embedding(id: bigint): number[] {
    return Array.from({ length: this.#config.dim }, (_, d) => (id === 0n ? 0 : randomWeights(id, "embedding", d)));
  }

  /** Bias + Σ linear weights + dense · coefficients. */
  #first(row: number): number {
    const { categorical, bags } = this.#shape;
    const columns: [string, number][] = [...Object.entries(bags)];
    if (categorical > 0) columns.push(["categorical", categorical]);
    const weights = columns.flatMap(([name, width]) =>
      this.#ids(name, width, row).map((id) => (id === 0n ? 0 : randomWeights(id, "linear", 0))),
    );
    const coefficients = [...(this.#parameters["linear/weight"] ?? [])];
    return this.#parameters.bias?.[0] === undefined
      ? 0
      : this.#parameters.bias[0] + total(weights) + total(zip(this.#dense(row), coefficients, (x, y) => x * y));
  }

  /** One vector a field: the columns' embeddings, then the means of the bags. */
  #fields(row: number): number[][] {
    const { categorical, bags } = this.#shape;
    const own = categorical > 0 ? this.#ids("categorical", categorical, row).map((id) => this.#embedding(id)) : [];
    const pooled = Object.entries(bags).map(([name, width]) => {
      const members = this.#ids(name, width, row).filter((id) => id !== 0n);
      const sum = members.map((id) => this.#embedding(id)).reduce(plus, Array(this.#config.dim).fill(0));
      return sum.map((x) => x / Math.max(1, members.length));
    });
    return [...own, ...pooled];
  }

  /** Σ over pairs of fields of the inner product of their vectors. */
  #pairs(row: number): number {
    const fields = this.#fields(row);
    return total(fields.flatMap((a, i) => fields.slice(i + 1).map((b) => total(zip(a, b, (x, y) => x * y)))));
  }

  #deepInput(row: number): number[] {
    return [...this.#fields(row).flat(), ...this.#dense(row)];
  }

  #linear(name: string, x: readonly number[], units: number, bias = true): number[] {
    const weight = this.#parameters[`${name}/weight`]!;
    return Array.from({ length: units }, (_, j) => {
      const products = x.map((value, i) => value * weight[i * units + j]!);
      return total(products) + (bias ? this.#parameters[`${name}/bias`]![j]! : 0);
    });
  }

  #cross(x0: readonly number[]): number[] {
    let x = [...x0];
    for (let layer = 0; layer < this.#config.crossLayers; layer++) {
      x = plus(
        zip(x0, this.#linear(`cross/${layer}`, x, x.length), (a, b) => a * b),
        x,
      );
    }
    return x;
  }

  #perceptron(inputs: readonly (readonly number[])[]): number[][] {
    const { hidden, activation, norm, dropout } = this.#config;
    let rows = inputs.map((row) => [...row]);
    for (const [layer, units] of hidden.entries()) {
      rows = rows.map((row) => this.#linear(`deep/${layer}`, row, units, norm === "none"));
      if (norm === "layer") rows = rows.map((row) => this.#normalise(row, `deep/${layer}/norm`, row));
      if (norm === "batch") rows = this.#batchNorm(rows, `deep/${layer}/norm`);
      rows = rows.map((row) => row.map(activations[activation]));
      if (dropout > 0 && this.#training) {
        const kept = (i: number): number => Number(uniformAt(77, layer, i) >= dropout) / (1 - dropout);
        rows = rows.map((row, r) => row.map((x, j) => x * kept(r * units + j)));
      }
    }
    return rows;
  }

  /** (x − mean) / √(variance + 1e-5) · gamma + beta, the statistics of `sample`. */
  #normalise(x: readonly number[], name: string, sample: readonly number[]): number[] {
    const mean = total(sample) / sample.length;
    const variance = total(sample.map((value) => (value - mean) ** 2)) / sample.length;
    return this.#scale(x, name, () => [mean, variance]);
  }

  #scale(x: readonly number[], name: string, statistics: (column: number) => readonly [number, number]): number[] {
    const [gamma, beta] = [this.#parameters[`${name}/gamma`]!, this.#parameters[`${name}/beta`]!];
    return x.map((value, j) => {
      const [mean, variance] = statistics(j);
      return ((value - mean) / Math.sqrt(variance + 1e-5)) * gamma[j]! + beta[j]!;
    });
  }

  #batchNorm(rows: readonly (readonly number[])[], name: string): number[][] {
    const weight = this.#feed.weight as Float64Array;
    const counted = rows.filter((_, row) => weight[row]! > 0);
    const statistics = (column: number): readonly [number, number] => {
      if (!this.#training) {
        const running = (what: string): number => this.#parameters[`${name}/running-${what}`]![column]!;
        return [running("mean"), running("variance")];
      }
      const values = counted.map((row) => row[column]!);
      const mean = total(values) / values.length;
      return [mean, total(values.map((value) => (value - mean) ** 2)) / values.length];
    };
    return rows.map((row) => this.#scale(row, name, statistics));
  }
}
