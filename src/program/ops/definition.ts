// What an op is: its shape rule, its gradient rule and its float64 reference, told together by each file of this folder.
import type { UpdateRule } from "../../kernels/update-rule.ts";
import { ShapeError } from "../errors.ts";
import type { DType, OpAttrs, OpKind, OpOf, Shape, TensorType, ValueId } from "../ir.ts";

/** A dense row-major tensor of the reference. u64 ids are BigUint64Array, everything else is float64. */
export interface NdArray {
  readonly shape: Shape;
  readonly data: Float64Array | BigUint64Array;
  /** Default f32: what a result is rounded to. */
  readonly dtype?: DType;
}

/** What a gradient rule may do: look at values and append ops. */
export interface GradientBuilder {
  emit<K extends OpKind>(kind: K, inputs: readonly ValueId[], attrs: OpAttrs[K]): ValueId[];
  typeOf(id: ValueId): TensorType;
}

export interface GradientRequest<K extends OpKind> {
  readonly op: OpOf<K>;
  readonly builder: GradientBuilder;
  /** The gradient of each output; undefined where the loss does not depend on it. At least one is given. */
  readonly outputGradients: readonly (ValueId | undefined)[];
  /** Which inputs' gradients are wanted. */
  readonly needs: readonly boolean[];
}

/** A plain sparse table, for the reference. Row numbers stand for the row handles of real tables; row 0 is the zero row. */
export interface ReferenceRows {
  find(key: bigint, insert: boolean): number;
  weights(row: number, field: string): Float64Array;
  slots(row: number, field: string): readonly Float64Array[];
  /** One for each row: `perRow` slots have length 1. */
  rule(field: string): UpdateRule;
}

export interface ReferenceRequest<K extends OpKind> {
  readonly attrs: OpAttrs[K];
  readonly inputs: readonly NdArray[];
  /** Zero-filled results to write, of the inferred types. */
  readonly outputs: readonly NdArray[];
  table(name: string): ReferenceRows;
}

export interface OpDefinition<K extends OpKind> {
  /** The outputs' types. Throws a ShapeError whose message is the bare reason. */
  infer(inputs: readonly TensorType[], attrs: OpAttrs[K], tables: TableDims): TensorType[];
  /** The gradient of each input, undefined where it has none. */
  gradient?(request: GradientRequest<K>): (ValueId | undefined)[];
  reference(request: ReferenceRequest<K>): void;
  /** Of collectives: what all ranks compute together, by rank. */
  across?(requests: readonly ReferenceRequest<K>[]): void;
  /** Inputs that the op writes in place: an effect. */
  writes?(attrs: OpAttrs[K]): readonly number[];
}

/** The dimension of a table's field; throws where there is no such table or field. */
export type TableDims = (table: string, field: string) => number;

/** The elements of a float tensor. */
export function numbers(array: NdArray | undefined): Float64Array {
  if (array === undefined || !(array.data instanceof Float64Array)) throw new TypeError("expected a tensor of numbers");
  return array.data;
}

/** The elements whatever their type, only to be copied to a tensor of the same type. */
export const elements = (array: NdArray): Float64Array => array.data as Float64Array;

/** The elements of a tensor of 64-bit ids. */
export function ids(array: NdArray | undefined): BigUint64Array {
  if (array === undefined || !(array.data instanceof BigUint64Array)) throw new TypeError("expected a tensor of u64");
  return array.data;
}

export const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });

export function expectCount(inputs: readonly TensorType[], ...allowed: number[]): void {
  if (!allowed.includes(inputs.length)) {
    throw new ShapeError(`takes ${allowed.join(" or ")} inputs, got ${inputs.length}`);
  }
}

export function expectType(type: TensorType, dtype: TensorType["dtype"], what: string): void {
  if (type.dtype !== dtype) throw new ShapeError(`${what} must be ${dtype}, got ${type.dtype}`);
}

/** f32 or half precision. */
export function expectFloat(type: TensorType, what: string): void {
  if (type.dtype !== "f32" && type.dtype !== "bf16" && type.dtype !== "f16") {
    throw new ShapeError(`${what} must be f32, bf16 or f16, got ${type.dtype}`);
  }
}

export function expectRank(type: TensorType, rank: number, what: string): void {
  if (type.shape.length !== rank) {
    throw new ShapeError(`${what} must have rank ${rank}, got [${type.shape.join(",")}]`);
  }
}

export function expectShape(type: TensorType, shape: Shape, what: string): void {
  if (type.shape.length !== shape.length || type.shape.some((d, i) => d !== shape[i])) {
    throw new ShapeError(`${what} must have shape [${shape.join(",")}], got [${type.shape.join(",")}]`);
  }
}

export function expectAxis(axis: number, rank: number): void {
  if (!Number.isInteger(axis) || axis < 0 || axis >= rank) {
    throw new ShapeError(`axis ${axis} is not in 0…${rank - 1}`);
  }
}
