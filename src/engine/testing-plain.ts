// For tests: the plainest provider there is, float64 loops over the heap and the program's own references. The twin that
// fast providers and the ops that bind them are held against.
import { readFloats, writeFloats } from "../kernels/half.ts";
import type { Heap } from "../memory/index.ts";
import type { OpKind } from "../program/ir.ts";
import { definitionOf } from "../program/ops/catalogue.ts";
import type { NdArray, OpDefinition } from "../program/ops/definition.ts";
import { stridesOf } from "./geometry.ts";
import type { FloatType } from "./plan.ts";
import type { ConvShape, MatmulSpec, NormShape, PoolShape, Provider } from "./provider.ts";
import { sizeOf } from "./tensor.ts";

const activations: Readonly<Record<string, (x: number) => number>> = {
  relu: (x) => Math.max(x, 0),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  none: (x) => x,
};

export const plainProvider = (heap: Heap): Provider => {
  const { buffer } = heap.memory;
  const read = (type: FloatType, at: number, shape: readonly number[]): NdArray => ({
    shape,
    data: Float64Array.from(readFloats(type, buffer, at, sizeOf(shape))),
  });
  const write = (type: FloatType, at: number, { data }: NdArray): void =>
    writeFloats(type, buffer, at, data as Float64Array);
  const empty = (shape: readonly number[]): NdArray => ({ shape, data: new Float64Array(sizeOf(shape)) });
  const reference = (kind: OpKind, attrs: object, inputs: readonly NdArray[], outputs: readonly NdArray[]): void => {
    const definition = definitionOf(kind) as unknown as OpDefinition<"softmax">;
    const table = (): never => {
      throw new Error("no tables here");
    };
    definition.reference({ attrs, inputs, outputs, table });
  };
  return {
    name: "wasm",
    nativeBf16: false,
    scratchBytes: () => 0,
    matmul: (spec) => () => multiply(spec, read, write),
    conv: {
      scratchBytes: () => 0,
      bind: (s, at) => () => {
        const { x, w, y } = convShapes(s);
        const { types } = s;
        const attrs = { ...convAttrs(s), ...(s.activation === undefined ? {} : { activation: s.activation }) };
        const bias = [s.outChannels];
        if (s.direction === "forward") {
          const out = empty(y);
          const more = s.bias ? [read("f32", at.bias!, bias)] : [];
          reference("conv2d", attrs, [read(types.x, at.x, x), read(types.w, at.w, w), ...more], [out]);
          write(types.y, at.y, out);
        } else if (s.direction === "input") {
          const dx = empty(x);
          reference(
            "conv2d_input_grad",
            { ...attrs, shape: x },
            [read(types.y, at.y, y), read(types.w, at.w, w)],
            [dx],
          );
          write(types.x, at.x, dx);
        } else {
          const [dw, db] = [empty(w), empty(bias)];
          const inputs = [read(types.x, at.x, x), read(types.y, at.y, y)];
          reference("conv2d_weight_grad", { ...attrs, shape: w, bias: s.bias }, inputs, [dw, db]);
          write(types.w, at.w, dw);
          if (s.bias) write("f32", at.bias!, db);
        }
      },
    },
    pool: {
      scratchBytes: () => 0,
      bind: (s, at) => () => {
        const { x, y } = poolShapes(s);
        const attrs = poolAttrs(s);
        const max = s.mode === "max";
        if (s.direction === "forward") {
          const [out, places] = [empty(y), empty(y)];
          reference("pool2d", attrs, [read(s.type, at.x, x)], max ? [out, places] : [out]);
          write(s.type, at.y, out);
          if (at.places !== undefined) heap.u8(at.places, sizeOf(y)).set(places.data as Float64Array);
        } else {
          const dx = empty(x);
          const places = max ? [{ shape: y, data: Float64Array.from(heap.u8(at.places!, sizeOf(y))) }] : [];
          reference("pool2d_grad", { ...attrs, shape: x }, [read(s.type, at.y, y), ...places], [dx]);
          write(s.type, at.x, dx);
        }
      },
    },
    norm: {
      scratchBytes: () => 0,
      bind: (s, at) => () => {
        const [x, kept, other] = normShapes(s);
        const numbers = (address: number, shape: readonly number[]): NdArray => read("f32", address, shape);
        const statistics = [empty(kept), empty(kept)] as const;
        if (s.direction === "forward") {
          const y = empty(x);
          const affine = [numbers(at.gamma, other), numbers(at.beta, other)];
          const running = s.axis === "batch" ? [empty(kept), empty(kept)] : [];
          const attrs = { epsilon: s.epsilon, momentum: 1, training: true };
          reference(`${s.axis}_norm`, attrs, [read(s.type, at.x, x), ...affine, ...running], [y, ...statistics]);
          write(s.type, at.y, y);
          write("f32", at.mean, statistics[0]);
          write("f32", at.rstd, statistics[1]);
        } else {
          const [dx, dgamma, dbeta] = [empty(x), empty(other), empty(other)];
          const inputs = [read(s.type, at.y, x), read(s.type, at.x, x), numbers(at.gamma, other)];
          const given = [numbers(at.mean, kept), numbers(at.rstd, kept)];
          reference(`${s.axis}_norm_grad`, {}, [...inputs, ...given], [dx, dgamma, dbeta]);
          write(s.type, at.dx!, dx);
          write("f32", at.dgamma!, dgamma);
          write("f32", at.dbeta!, dbeta);
        }
      },
    },
  };
};

export const convAttrs = (s: ConvShape) => ({
  stride: [s.strideHeight, s.strideWidth] as const,
  padding: [s.padTop, 0, s.padLeft, 0] as const,
  dilation: [s.dilationHeight, s.dilationWidth] as const,
  groups: s.groups,
});

export const convShapes = (s: ConvShape) => ({
  x: [s.batch, s.height, s.width, s.channels],
  w: [s.kernelHeight, s.kernelWidth, s.channels / s.groups, s.outChannels],
  y: [s.batch, s.outHeight, s.outWidth, s.outChannels],
});

export const poolAttrs = (s: PoolShape) => ({
  mode: s.mode,
  kernel: [s.kernelHeight, s.kernelWidth] as const,
  stride: [s.strideHeight, s.strideWidth] as const,
  padding: [s.padTop, 0, s.padLeft, 0] as const,
  countPadding: s.countPadding,
  training: true,
});

export const poolShapes = (s: PoolShape) => ({
  x: [s.batch, s.height, s.width, s.channels],
  y: [s.batch, s.outHeight, s.outWidth, s.channels],
});

/** Shapes of x, of the statistics, and of gamma and beta. */
export const normShapes = (s: NormShape): [number[], number[], number[]] =>
  s.axis === "layer" ? [[s.rows, s.columns], [s.rows], [s.columns]] : [[s.rows, s.columns], [s.columns], [s.columns]];

/** Every entry of a batch, by strides. */
function multiply(
  spec: MatmulSpec,
  read: (type: FloatType, at: number, shape: readonly number[]) => NdArray,
  write: (type: FloatType, at: number, array: NdArray) => void,
): void {
  const { m, n, k, batch = [], transposeA, transposeB, types = { a: "f32", b: "f32", c: "f32" }, strides } = spec;
  const swapped = (list: number[]): number[] => [...list.slice(0, -2), list.at(-1)!, list.at(-2)!];
  const of = strides ?? {
    a: transposeA ? swapped(stridesOf([...batch, k, m])) : stridesOf([...batch, m, k]),
    b: transposeB ? swapped(stridesOf([...batch, n, k])) : stridesOf([...batch, k, n]),
    c: stridesOf([...batch, m, n]),
  };
  const extent = (list: readonly number[], shape: readonly number[]): number =>
    shape.some((d) => d === 0) ? 0 : 1 + list.reduce((sum, stride, axis) => sum + stride * (shape[axis]! - 1), 0);
  const [a, b, c] = [
    read(types.a, spec.a, [extent(of.a, [...batch, m, k])]),
    read(types.b, spec.b, [extent(of.b, [...batch, k, n])]),
    read(types.c, spec.c, [extent(of.c, [...batch, m, n])]),
  ].map(({ data }) => data as Float64Array) as [Float64Array, Float64Array, Float64Array];
  const bias = spec.bias === undefined ? undefined : (read("f32", spec.bias, [n]).data as Float64Array);
  const activate = activations[spec.activation ?? "none"]!;
  const rank = batch.length;
  for (let entry = 0; entry < sizeOf(batch); entry++) {
    let rest = entry;
    let [x, y, z] = [0, 0, 0];
    for (let axis = rank - 1; axis >= 0; axis--) {
      const i = rest % batch[axis]!;
      rest = Math.floor(rest / batch[axis]!);
      x += i * of.a[axis]!;
      y += i * of.b[axis]!;
      z += i * of.c[axis]!;
    }
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const at = z + i * of.c[rank]! + j * of.c[rank + 1]!;
        let sum = spec.accumulate ? c[at]! : (bias?.[j] ?? 0);
        for (let p = 0; p < k; p++) {
          sum += a[x + i * of.a[rank]! + p * of.a[rank + 1]!]! * b[y + p * of.b[rank]! + j * of.b[rank + 1]!]!;
        }
        c[at] = activate(sum);
      }
    }
  }
  write(types.c, spec.c, { shape: [c.length], data: c });
}
