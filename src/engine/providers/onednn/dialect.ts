// Where the C interfaces of oneDNN 2 and 3 differ: how a memory descriptor, a matmul and a post-op are made.
import type { Activation } from "../../provider.ts";
import type { Handle } from "./native.ts";

/** Descriptor of a strided f32 matrix: a struct that we own (v2) or a handle (v3). */
export type Matrix = Handle | Uint8Array;

export interface Dialect {
  /** Strides in elements. */
  matrix(rows: number, columns: number, rowStride: number, columnStride: number): Matrix;
  release(matrix: Matrix): void;
  /** A primitive descriptor. @throws OneDnnError when the library has no implementation. */
  matmul(engine: Handle, a: Matrix, b: Matrix, bias: Matrix | null, c: Matrix, attributes: Handle): Handle;
  appendActivation(postOps: Handle, activation: Activation): void;
  /** Adds what the destination held. */
  appendSum(postOps: Handle): void;
}

/** Sizes and strides as the C interface takes them: twelve 64-bit integers. */
export function dimensions(...values: number[]): BigInt64Array {
  const array = new BigInt64Array(12);
  values.forEach((value, i) => {
    array[i] = BigInt(value);
  });
  return array;
}
