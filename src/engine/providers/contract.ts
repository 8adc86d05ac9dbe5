// What every provider must fulfil, as a check on one matmul: right within f32 rounding of a float64 product, and nothing
// written beside the result and the scratch. The test suite runs it on many shapes, `flotilla doctor` on a few.
import type { Heap } from "../../memory/index.ts";
import type { Activation, MatmulShape, MatmulSpec, Provider } from "../provider.ts";
import { generator, guarded } from "./guarded.ts";
import { describe } from "./spec.ts";

/** A matmul to check; `bias` says whether there is one. */
export interface MatmulCase {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly bias?: boolean;
  readonly activation?: Activation;
  readonly accumulate?: boolean;
  readonly seed?: number;
}

const TOLERANCE = 1e-6;

const activate: Readonly<Record<Activation, (x: number) => number>> = {
  relu: (x) => Math.max(x, 0),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
};

/** The shape as a provider sees it before addresses are known. */
export function shapeOf(test: MatmulCase): MatmulShape {
  const { m, n, k, transposeA = false, transposeB = false, bias = false, activation, accumulate } = test;
  return {
    ...{ m, n, k, transposeA, transposeB },
    ...(bias && { bias: 0 }),
    ...(activation && { activation }),
    ...(accumulate && { accumulate }),
  };
}

/**
 * Runs one case twice in memory of its own and returns the result's bits.
 * @throws with the case, the place and both numbers when a result is wrong, or memory beside it was written.
 */
export function checkMatmul(heap: Heap, provider: Provider, test: MatmulCase): Uint32Array {
  const shape = shapeOf(test);
  const { m, n, k } = shape;
  const random = generator(test.seed ?? 1);
  const scratchBytes = provider.scratchBytes(shape);
  const blocks = [m * k, k * n, m * n, n].map((count) => guarded(heap, count * 4));
  const scratch = guarded(heap, scratchBytes);
  try {
    const [a, b, c, bias] = blocks.map((block) => block.pointer) as [number, number, number, number];
    const inputs = [heap.f32(a, m * k), heap.f32(b, k * n), heap.f32(bias, n)];
    for (const values of inputs) for (let i = 0; i < values.length; i++) values[i] = 2 * random() - 1;
    const before = inputs.map((values) => values.slice());
    const result = heap.f32(c, m * n);
    const old = Float32Array.from(result, () => (shape.accumulate ? 2 * random() - 1 : Number.NaN));
    const { bias: hasBias, ...rest } = shape;
    const spec: MatmulSpec = {
      ...{ ...rest, a, b, c, scratch: scratch.pointer, scratchBytes },
      ...(hasBias === undefined ? {} : { bias }),
    };
    const call = provider.matmul(spec);
    let first: Uint32Array | undefined;
    for (let time = 0; time < 2; time++) {
      result.set(old);
      call();
      const bits = new Uint32Array(result.slice().buffer);
      first ??= bits;
      if (bits.some((word, i) => word !== first![i])) throw new Error(`${describe(shape)}: two runs differ`);
    }
    compare(shape, result, before as [Float32Array, Float32Array, Float32Array], old);
    inputs.forEach((values, i) => {
      if (values.some((value, j) => value !== before[i]![j])) {
        throw new Error(`${describe(shape)}: operand ${"ab+"[i]} was written`);
      }
    });
    if (![...blocks, scratch].every((block) => block.intact())) {
      throw new Error(`${describe(shape)}: memory beside an operand or the scratch was written`);
    }
    return first!;
  } finally {
    for (const block of [...blocks, scratch]) block.free();
  }
}

function compare(
  shape: MatmulShape,
  result: Float32Array,
  [a, b, bias]: [Float32Array, Float32Array, Float32Array],
  old: Float32Array,
): void {
  const { m, n, k } = shape;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = shape.bias === undefined ? 0 : bias[j]!;
      if (shape.accumulate) sum += old[i * n + j]!;
      let size = Math.abs(sum);
      for (let p = 0; p < k; p++) {
        const term = a[shape.transposeA ? p * m + i : i * k + p]! * b[shape.transposeB ? j * k + p : p * n + j]!;
        sum += term;
        size += Math.abs(term);
      }
      const wanted = shape.activation ? activate[shape.activation](sum) : sum;
      const got = result[i * n + j]!;
      if (!(Math.abs(got - wanted) <= TOLERANCE * (1 + size))) {
        throw new Error(`${describe(shape)}: c[${i}, ${j}] is ${got}, expected ${wanted}`);
      }
    }
  }
}
