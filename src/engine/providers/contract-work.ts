// What every provider must fulfil beside plain products: convolutions, pooling, norms, and products of batches, strides and
// half-precision types, each against the plain float64 twin on the same numbers; nothing written beside the results.
import { readFloats, writeFloats } from "../../kernels/half.ts";
import type { Heap } from "../../memory/index.ts";
import { bytesOf, type DType, type FloatType } from "../plan.ts";
import type { ConvShape, MatmulShape, MatmulSpec, NormAddresses, NormShape, PoolShape, Provider } from "../provider.ts";
import { sizeOf } from "../tensor.ts";
import { convShapes, normShapes, plainProvider, poolShapes } from "../testing-plain.ts";
import { generator, guarded } from "./guarded.ts";

/** An operand of some work: read, or written. */
interface Operand {
  readonly name: string;
  readonly type: FloatType | "u8";
  readonly size: number;
  readonly result: boolean;
}

/** Relative to the sum of the magnitudes that were added up: f32 arithmetic in any order. */
const F32_ERROR = 2e-6;
/** Half a unit in the last place of a result, and a little for what was rounded before. */
const ROUNDING: Readonly<Record<FloatType, number>> = { f32: 0, bf16: 2 ** -8, f16: 2 ** -10 };

type Bind = (provider: Provider, addresses: Readonly<Record<string, number>>) => () => void;

/**
 * Runs work twice on random numbers and compares each result with the plain provider's. `magnitudes` runs the plain
 * provider on absolute values: what was added up.
 * @throws with the operand, the place and both numbers when a result is wrong, or memory that is no result was written
 */
function checkWork(
  heap: Heap,
  subject: Provider,
  what: string,
  operands: readonly Operand[],
  bind: Bind,
  { seed = 1, magnitudes = false, tolerance = F32_ERROR }: { seed?: number; magnitudes?: boolean; tolerance?: number },
): void {
  const random = generator(seed);
  const numbers = operands.map(({ type, size, name }) =>
    Float32Array.from({ length: size }, () =>
      type === "u8" ? 0 : name === "rstd" ? 0.5 + random() : 2 * random() - 1,
    ),
  );
  const run = (provider: Provider, times: number, absolute: boolean): Float32Array[] => {
    const blocks = operands.map(({ type, size }) => guarded(heap, size * bytesOf[type as DType]));
    try {
      const addresses = Object.fromEntries(operands.map(({ name }, i) => [name, blocks[i]!.pointer]));
      const fill = (i: number): void => {
        const { type, size } = operands[i]!;
        const values = absolute ? numbers[i]!.map(Math.abs) : numbers[i]!;
        if (type === "u8") heap.u8(blocks[i]!.pointer, size).set(values);
        else writeFloats(type, heap.memory.buffer, blocks[i]!.pointer, values);
      };
      for (const i of operands.keys()) fill(i);
      const call = bind(provider, addresses);
      let results: Float32Array[] = [];
      for (let time = 0; time < times; time++) {
        for (const [i, { result }] of operands.entries()) if (result) fill(i);
        call();
        const before = results;
        results = operands.map(({ type, size }, i) =>
          type === "u8"
            ? Float32Array.from(heap.u8(blocks[i]!.pointer, size))
            : readFloats(type, heap.memory.buffer, blocks[i]!.pointer, size),
        );
        if (time > 0 && results.some((values, i) => values.some((v, j) => !Object.is(v, before[i]![j])))) {
          throw new Error(`${what}: two runs differ`);
        }
      }
      if (!blocks.every((block) => block.intact())) throw new Error(`${what}: memory beside an operand was written`);
      return results;
    } finally {
      for (const block of blocks) block.free();
    }
  };
  const actual = run(subject, 2, false);
  const plain = plainProvider(heap);
  const expected = run(plain, 1, false);
  const sizes = magnitudes ? run(plain, 1, true) : expected;
  for (const [i, { name, type, result }] of operands.entries()) {
    for (const [j, wanted] of expected[i]!.entries()) {
      const got = actual[i]![j]!;
      const size = Math.abs(sizes[i]![j]!);
      const error = type === "u8" || !result ? 0 : tolerance * (1 + size) + 2 * ROUNDING[type] * Math.abs(wanted);
      if (Object.is(got, wanted) || Math.abs(got - wanted) <= error) continue;
      throw new Error(`${what}: ${name}[${j}] is ${got}, expected ${wanted}`);
    }
  }
}

const text = (kind: string, shape: object): string => `${kind} ${JSON.stringify(shape)}`;

/** Binds through scratch memory of just the size that the provider asks for. */
function withScratch<A>(heap: Heap, bytes: number, bind: (scratch: { scratch: number; scratchBytes: number }) => A): A {
  return bind({ scratch: heap.alloc(Math.max(64, bytes)), scratchBytes: bytes });
}

export function checkConv(heap: Heap, subject: Provider, s: ConvShape, seed = 1): void {
  const { x, w, y } = convShapes(s);
  const result = { forward: "y", input: "x", weights: "w" }[s.direction];
  const of = (name: "x" | "w" | "y", shape: readonly number[]): Operand => ({
    ...{ name, type: s.types[name], size: sizeOf(shape), result: name === result },
  });
  const operands = [of("x", x), of("w", w), of("y", y)];
  if (s.bias) operands.push({ name: "bias", type: "f32", size: s.outChannels, result: s.direction === "weights" });
  const bind: Bind = (provider, at) =>
    withScratch(heap, provider.conv.scratchBytes(s), (scratch) =>
      provider.conv.bind(s, { x: at.x!, w: at.w!, y: at.y!, ...(s.bias && { bias: at.bias! }), ...scratch }),
    );
  checkWork(heap, subject, text("conv", s), operands, bind, { seed, magnitudes: true });
}

export function checkPool(heap: Heap, subject: Provider, s: PoolShape, seed = 1): void {
  const { x, y } = poolShapes(s);
  const forward = s.direction === "forward";
  const operands: Operand[] = [
    { name: "x", type: s.type, size: sizeOf(x), result: !forward },
    { name: "y", type: s.type, size: sizeOf(y), result: forward },
  ];
  if (s.mode === "max") operands.push({ name: "places", type: "u8", size: sizeOf(y), result: forward });
  const bind: Bind = (provider, at) =>
    withScratch(heap, provider.pool.scratchBytes(s), (scratch) =>
      provider.pool.bind(s, { x: at.x!, y: at.y!, ...(s.mode === "max" && { places: at.places! }), ...scratch }),
    );
  checkWork(heap, subject, text("pool", s), operands, bind, { seed, magnitudes: s.mode === "average" });
}

export function checkNorm(heap: Heap, subject: Provider, s: NormShape, seed = 1): void {
  const [x, kept, other] = normShapes(s);
  const backward = s.direction === "backward";
  const f32 = (name: string, shape: readonly number[], result = false): Operand => ({
    ...{ name, type: "f32", size: sizeOf(shape), result },
  });
  const operands: Operand[] = [
    { name: "x", type: s.type, size: sizeOf(x), result: false },
    { name: "y", type: s.type, size: sizeOf(x), result: !backward },
    ...[f32("gamma", other), f32("beta", other), f32("mean", kept, !backward), f32("rstd", kept, !backward)],
  ];
  if (backward) {
    operands.push({ name: "dx", type: s.type, size: sizeOf(x), result: true });
    operands.push(f32("dgamma", other, true), f32("dbeta", other, true));
  }
  const bind: Bind = (provider, at) =>
    withScratch(heap, provider.norm.scratchBytes(s), (scratch) =>
      provider.norm.bind(s, { ...(at as unknown as NormAddresses), ...scratch }),
    );
  checkWork(heap, subject, text("norm", s), operands, bind, { seed, tolerance: 2e-4 });
}

/** A product of a batch; `strides` may leave gaps, which must stay as they are. */
export function checkBatch(heap: Heap, subject: Provider, s: MatmulShape, seed = 1): void {
  const { batch = [], m, n, k, strides, types = { a: "f32", b: "f32", c: "f32" } } = s;
  const extent = (name: "a" | "b" | "c", rows: number, columns: number): number => {
    const shape = [...batch, rows, columns];
    const list = strides?.[name];
    return list === undefined ? sizeOf(shape) : 1 + list.reduce((sum, stride, i) => sum + stride * (shape[i]! - 1), 0);
  };
  const operands: Operand[] = [
    { name: "a", type: types.a, size: extent("a", m, k), result: false },
    { name: "b", type: types.b, size: extent("b", k, n), result: false },
    { name: "c", type: types.c, size: extent("c", m, n), result: true },
  ];
  if (s.bias !== undefined) operands.push({ name: "bias", type: "f32", size: n, result: false });
  const bind: Bind = (provider, at) => {
    const { bias, ...rest } = s;
    return withScratch(heap, provider.scratchBytes(s), (scratch) => {
      const addresses = { a: at.a!, b: at.b!, c: at.c!, ...(bias !== undefined && { bias: at.bias! }) };
      return provider.matmul({ ...rest, ...addresses, ...scratch } as MatmulSpec);
    });
  };
  checkWork(heap, subject, text("matmul", s), operands, bind, { seed, magnitudes: true });
}
