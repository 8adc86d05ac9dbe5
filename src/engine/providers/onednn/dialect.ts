// Where the C interfaces of oneDNN 2 and 3 differ: how descriptors of memory, primitives and post-ops are made.
import type { FloatType } from "../../plan.ts";
import type { Activation } from "../../provider.ts";
import type { Descriptor, Handle, Native } from "./native.ts";

/** How windows walk over a picture; each pair is rows, columns. */
export interface Windows {
  readonly strides: readonly [number, number];
  /** Elements left out between two of a window; 0 = dense. */
  readonly gaps: readonly [number, number];
  readonly before: readonly [number, number];
  readonly after: readonly [number, number];
}

export interface Convolution extends Windows {
  readonly direction: "forward" | "input" | "weights";
  readonly algorithm: number;
  readonly x: Descriptor;
  readonly w: Descriptor;
  readonly bias: Descriptor | null;
  readonly y: Descriptor;
  /** Operands of the forward convolution of which this is a gradient: of the types that go in, not those that come out. */
  readonly forward: { readonly x: Descriptor; readonly w: Descriptor };
}

export interface Pooling extends Windows {
  readonly direction: "training" | "inference" | "input";
  readonly algorithm: number;
  readonly kernel: readonly [number, number];
  readonly x: Descriptor;
  readonly y: Descriptor;
}

export interface Normalization {
  readonly direction: "forward" | "backward";
  readonly axis: "batch" | "layer";
  readonly x: Descriptor;
  /** Of mean and variance; only where axis is `layer`. */
  readonly statistics: Descriptor | null;
  readonly epsilon: number;
}

/** Each primitive's function gives a primitive descriptor and throws `OneDnnError` where the library has no code for it. */
export interface Dialect {
  /** Strides in elements, or `any`: the library chooses. */
  memory(dims: readonly number[], type: FloatType | "u8", strides: readonly number[] | "any"): Descriptor;
  release(descriptor: Descriptor): void;
  matmul(
    engine: Handle,
    a: Descriptor,
    b: Descriptor,
    bias: Descriptor | null,
    c: Descriptor,
    attributes: Handle,
  ): Handle;
  convolution(engine: Handle, convolution: Convolution, attributes: Handle): Handle;
  pooling(engine: Handle, pooling: Pooling, attributes: Handle): Handle;
  normalization(engine: Handle, normalization: Normalization, attributes: Handle): Handle;
  /** Whether the gradient of a norm takes the shift, which it does not need, as an argument. */
  readonly shiftsGradient: Readonly<Record<Normalization["axis"], boolean>>;
  appendActivation(postOps: Handle, activation: Activation): void;
  /** Adds what the destination held. */
  appendSum(postOps: Handle): void;
}

/** Sizes and strides as the C interface takes them: twelve 64-bit integers. */
export function dimensions(values: readonly number[]): BigInt64Array {
  const array = new BigInt64Array(12);
  values.forEach((value, i) => {
    array[i] = BigInt(value);
  });
  return array;
}

/** Types of parameters: so many pointers. */
export function pointers(count: number): string[] {
  return Array.from({ length: count }, () => "void*");
}

/** A backward primitive descriptor: the library derives it from the forward one, which it does not need any longer then. */
export function hinted(native: Native, forward: Handle, backward: (hint: Handle) => Handle): Handle {
  try {
    return backward(forward);
  } finally {
    native.call("dnnl_primitive_desc_destroy", ["void*"], forward);
  }
}
