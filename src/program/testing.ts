// Support of tests: random numbers from a seed, and gradients held against central differences in float64.
import { expect } from "vitest";
import { ProgramBuilder } from "./builder.ts";
import { type DifferentiateOptions, differentiate } from "./differentiate.ts";
import { type Program, sizeOf } from "./ir.ts";
import { interpret, type ReferenceState } from "./reference.ts";
import type { ReferenceTable } from "./reference-table.ts";
import { Tensor } from "./tensor.ts";
import { type Random, randomFrom } from "./testing-random.ts";
import { type ModelFunction, type TraceOptions, trace } from "./trace.ts";

export { type Random, randomFrom } from "./testing-random.ts";

/** Numbers in [low, high). */
export const randomArray = (random: Random, length: number, low = -1, high = 1): Float64Array =>
  Float64Array.from({ length }, () => low + (high - low) * random());

export type Feed = Readonly<Record<string, Float64Array | BigUint64Array>>;

/** Random numbers for every input and parameter; integers below `classes` for i32, 1…9 for ids. */
export function randomFeed(
  program: Program,
  random: Random,
  { low = -1, high = 1, classes = 2 } = {},
): { inputs: Feed; parameters: Record<string, Float64Array> } {
  const draw = (id: number): Float64Array | BigUint64Array => {
    const { shape, dtype } = program.values[id]!;
    const size = sizeOf(shape);
    if (dtype === "u64") return BigUint64Array.from({ length: size }, () => BigInt(Math.floor(random() * 10)));
    if (dtype === "f32") return randomArray(random, size, low, high);
    return Float64Array.from({ length: size }, () => Math.floor(random() * classes));
  };
  const inputs = Object.fromEntries(Object.entries(program.inputs).map(([name, id]) => [name, draw(id)]));
  const parameters = Object.fromEntries(
    Object.entries(program.parameters).map(([name, { value }]) => [name, draw(value) as Float64Array]),
  );
  return { inputs, parameters };
}

/** Random numbers that are the same for the same key, field and element. */
export const randomWeights = (key: bigint, field: string, element: number): number =>
  Math.sin(Number(key) * 12.9898 + element * 78.233 + field.length * 37.719);

const copyAll = (arrays: Readonly<Record<string, Float64Array>>): Record<string, Float64Array> =>
  Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, array.slice()]));

/** The central difference of `loss` along one element of `array`. */
export function centralDifference(array: Float64Array, element: number, loss: () => number): number {
  const step = 1e-5;
  const old = array[element]!;
  array[element] = old + step;
  const above = loss();
  array[element] = old - step;
  const below = loss();
  array[element] = old;
  return (above - below) / (2 * step);
}

export interface GradientCheck {
  readonly loss: string;
  /** f32 inputs to check; default none. */
  readonly inputs?: readonly string[];
  readonly tables?: () => Readonly<Record<string, ReferenceTable>>;
}

/** Expects the gradients of all trainable parameters and of the named inputs to be those of central differences. */
export function expectGradients(
  program: Program,
  feed: { readonly inputs: Feed; readonly parameters: Readonly<Record<string, Float64Array>> },
  { loss, inputs = [], tables }: GradientCheck,
): void {
  const options: DifferentiateOptions = { loss, inputs };
  const { program: backward, gradients, inputGradients } = differentiate(program, options);
  const state = (): ReferenceState => ({
    parameters: copyAll(feed.parameters),
    ...(tables === undefined ? {} : { tables: tables() }),
  });
  const result = interpret(backward, feed.inputs, state());
  const lossAt = (): number => interpret(program, feed.inputs, state()).outputs[loss]![0] as number;
  const trainable = Object.keys(program.parameters).filter((name) => program.parameters[name]!.trainable);
  const checks = [
    ...inputs.map((name) => ({ name, array: feed.inputs[name] as Float64Array, id: inputGradients[name] })),
    ...trainable.map((name) => ({ name, array: feed.parameters[name]!, id: gradients[name] })),
  ];
  for (const { name, array, id } of checks) {
    for (const element of array.keys()) {
      const expected = centralDifference(array, element, lossAt);
      const actual = id === undefined ? 0 : (result.value(id)[element] as number);
      const error = Math.abs(actual - expected) / Math.max(1, Math.abs(expected));
      expect(error, `gradient of ${name}[${element}]: ${actual}, by differences ${expected}`).toBeLessThan(1e-6);
    }
  }
}

/**
 * Traces a function of the named tensors, weighs its result by random numbers to a scalar, and checks the gradients of
 * the f32 inputs (all but those in `fixed`) and parameters.
 */
export function checkFunction<Name extends string>(
  model: (inputs: { readonly [K in Name]: Tensor }, ctx: Parameters<ModelFunction<Name>>[1]) => Tensor,
  options: TraceOptions<Name> & {
    readonly seed: number;
    readonly fixed?: readonly NoInfer<Name>[];
    readonly low?: number;
    readonly high?: number;
    readonly classes?: number;
  },
): void {
  const { fixed = [], seed } = options;
  const random = randomFrom(seed);
  const forward = trace<Name>(model, options);
  const builder = new ProgramBuilder(forward);
  const output = builder.typeOf(forward.outputs.output!);
  const y = new Tensor(
    {
      ...{ builder, training: true, ranks: 1, syncBatchNorm: false },
      nextStream: () => 1000,
      nextCollective: () => 1000,
    },
    forward.outputs.output!,
  );
  const weight = new Tensor(y.trace, builder.input("cotangent", { shape: output.shape, dtype: "f32" }));
  builder.output("loss", y.mul(weight).sum().id);
  const program = builder.build();
  const f32Inputs = Object.keys(options.inputs).filter(
    (name) => options.inputs[name as Name].dtype === "f32" && !fixed.includes(name as Name),
  );
  expectGradients(program, randomFeed(program, random, options), { loss: "loss", inputs: f32Inputs });
}
