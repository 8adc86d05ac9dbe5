// For tests: layers in float64 beside PyTorch's, results and all gradients; one Python process for a list of cases.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { findPython } from "../../bench/lib/python.ts";
import { relativeError } from "../engine/testing.ts";
import { ProgramBuilder } from "../program/builder.ts";
import { differentiate, interpret, Tensor, type TensorType, type TraceContext, trace } from "../program/index.ts";
import { randomArray, randomFeed, randomFrom } from "../program/testing.ts";

export interface TorchCase<Name extends string = string> {
  readonly title: string;
  readonly inputs: Readonly<Record<Name, TensorType>>;
  readonly ours: (inputs: Readonly<Record<Name, Tensor>>, ctx: TraceContext) => Tensor;
  /** Python that sets `y`; the inputs are its variables, parameters are `p["NAME"]` (test/python/layers.py). */
  readonly torch: string;
  /** Values are drawn from [low, high), by default [−1, 1); integers from 0 to `classes` − 1, by default 0 and 1. */
  readonly low?: number;
  readonly high?: number;
  readonly classes?: number;
  /** Inputs that are given instead of drawn. */
  readonly values?: Readonly<Partial<Record<Name, readonly number[]>>>;
  /** Largest relative error; default 1e-9. */
  readonly tolerance?: number;
}

/** Keeps the types of a case's inputs. */
export const torchCase = <Name extends string>(test: TorchCase<Name>): TorchCase => test as unknown as TorchCase;

interface Results {
  readonly y: readonly number[];
  readonly gradients: Readonly<Record<string, readonly number[]>>;
  /** Parameters that are not trained, after the step. */
  readonly fixed: Readonly<Record<string, readonly number[]>>;
}

const script = fileURLToPath(new URL("../../test/python/layers.py", import.meta.url));

/** Runs a case here; `question` is what the script is asked. */
function prepare(test: TorchCase, seed: number): { ours: Results; question: object } {
  const forward = trace(test.ours, { inputs: test.inputs, training: true });
  const output = forward.outputs.output!;
  const builder = new ProgramBuilder(forward);
  const y = new Tensor(
    { ...{ builder, training: true, ranks: 1, syncBatchNorm: false }, nextStream: () => 0, nextCollective: () => 0 },
    output,
  );
  const weight = new Tensor(y.trace, builder.input("cotangent", { shape: y.shape, dtype: "f32" }));
  builder.output("loss", y.mul(weight).sum().id);
  const random = randomFrom(seed);
  const { inputs: drawn, parameters } = randomFeed(forward, random, test);
  const given = Object.entries(test.values ?? {}).map(([name, values]) => [name, Float64Array.from(values!)]);
  const inputs: typeof drawn = { ...drawn, ...Object.fromEntries(given) };
  const cotangent = randomArray(
    random,
    y.shape.reduce((n, d) => n * d, 1),
  );
  // Variances are positive.
  for (const [name, values] of Object.entries(parameters)) {
    if (name.endsWith("variance")) for (const [i, value] of values.entries()) values[i] = Math.abs(value) + 0.1;
  }
  const specs = Object.entries(parameters).map(([name, data]) => {
    const { value, trainable } = forward.parameters[name]!;
    return [name, { shape: forward.values[value]!.shape, data: [...data], trainable }];
  });
  const question = {
    inputs: Object.fromEntries(
      Object.entries(test.inputs).map(([name, type]) => [name, { ...type, data: [...(inputs[name] as Float64Array)] }]),
    ),
    parameters: Object.fromEntries(specs),
    cotangent: [...cotangent],
    code: test.torch,
  };
  const floats = Object.keys(test.inputs).filter((name) => test.inputs[name]!.dtype === "f32");
  const { program, gradients, inputGradients } = differentiate(builder.build(), { loss: "loss", inputs: floats });
  const { value } = interpret(program, { ...inputs, cotangent }, { parameters });
  const numbers = (id: number): number[] => [...(value(id) as Float64Array)];
  const fixed = Object.entries(parameters).filter(([name]) => !forward.parameters[name]!.trainable);
  return {
    question,
    ours: {
      y: numbers(output),
      gradients: Object.fromEntries(
        Object.entries({ ...inputGradients, ...gradients }).map(([name, id]) => [name, numbers(id)]),
      ),
      fixed: Object.fromEntries(fixed.map(([name, values]) => [name, [...values]])),
    },
  };
}

/**
 * A test for each case, by subject: result, gradients and running statistics agree with PyTorch's in float64. Call it once
 * a file: starting Python takes longer than all cases.
 */
export function againstTorch(subjects: Readonly<Record<string, readonly TorchCase[]>>): void {
  const python = findPython(["torch"]);
  const cases = Object.values(subjects).flat();
  const runs = new Map<TorchCase, { ours: Results; theirs: Results }>();
  beforeAll(() => {
    if ("missing" in python) return;
    const prepared = cases.map((test, i) => prepare(test, i + 1));
    const input = JSON.stringify(prepared.map(({ question }) => question));
    const child = spawnSync(python.path, [script], { input, encoding: "utf8", maxBuffer: 2 ** 28 });
    expect(child.status, child.stderr).toBe(0);
    const answers = JSON.parse(child.stdout) as Results[];
    for (const [i, test] of cases.entries()) runs.set(test, { ours: prepared[i]!.ours, theirs: answers[i]! });
  }, 60_000);
  for (const [subject, tests] of Object.entries(subjects)) {
    describe(subject, () => {
      for (const test of tests) {
        it(test.title, ({ skip }) => {
          if ("missing" in python) return skip(python.missing);
          const { ours, theirs } = runs.get(test)!;
          expectAgreement(ours, theirs, test.tolerance ?? 1e-9);
        });
      }
    });
  }
}

function expectAgreement(ours: Results, theirs: Results, tolerance: number): void {
  const agree = (what: string, actual: readonly number[], expected: readonly number[]): void => {
    const error = relativeError(actual, expected);
    expect(error, `${what}: ${actual.slice(0, 4)} … beside ${expected.slice(0, 4)} …`).toBeLessThan(tolerance);
  };
  agree("result", ours.y, theirs.y);
  for (const kind of ["gradients", "fixed"] as const) {
    for (const name of new Set([...Object.keys(ours[kind]), ...Object.keys(theirs[kind])])) {
      // A gradient that one side does not have is one of zeros.
      const [mine, other] = [ours[kind][name], theirs[kind][name]];
      agree(`${kind} of ${name}`, mine ?? other!.map(() => 0), other ?? mine!.map(() => 0));
    }
  }
}
