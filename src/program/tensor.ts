// Symbolic tensors: what a model function computes with while it is traced. Each method appends ops to the program.
import * as e from "../kernels/expr.ts";
import type { ProgramBuilder } from "./builder.ts";
import { ShapeError } from "./errors.ts";
import { type DType, type FloatType, type OpAttrs, type OpKind, type Shape, sizeOf, type ValueId } from "./ir.ts";

/** A tensor, or a number that broadcasts. */
export type TensorLike = Tensor | number;

export interface ReduceOptions {
  /** Axes to reduce, negative ones from the end; default all. */
  readonly axes?: number | readonly number[];
  /** Keep the reduced axes with length 1; default false. */
  readonly keepDims?: boolean;
}

export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

/** What tensors of one trace share. */
export interface Trace {
  readonly builder: ProgramBuilder;
  /** Whether the program is to train: dropout drops, batch norm takes the batch's statistics, tables insert. */
  readonly training: boolean;
  /** A number that no other random op of this trace has. */
  nextStream(): number;
  /** Ranks that run the program together. */
  readonly ranks: number;
  /** Whether batch norm takes the statistics of all ranks. */
  readonly syncBatchNorm: boolean;
  /** A number that no other collective of this trace has. */
  nextCollective(): number;
}

/**
 * A value of the program. Arithmetic broadcasts by numpy's rules; shapes are checked at once, and a ShapeError names
 * the op, the operands and the caller's line.
 */
export class Tensor {
  readonly trace: Trace;
  readonly id: ValueId;

  constructor(trace: Trace, id: ValueId) {
    this.trace = trace;
    this.id = id;
  }

  get shape(): Shape {
    return this.trace.builder.typeOf(this.id).shape;
  }

  get dtype(): DType {
    return this.trace.builder.typeOf(this.id).dtype;
  }

  /** Number of axes. */
  get rank(): number {
    return this.shape.length;
  }

  add(y: TensorLike): Tensor {
    return elementwise(e.add, this, y);
  }
  sub(y: TensorLike): Tensor {
    return elementwise(e.sub, this, y);
  }
  mul(y: TensorLike): Tensor {
    return elementwise(e.mul, this, y);
  }
  div(y: TensorLike): Tensor {
    return elementwise(e.div, this, y);
  }
  pow(y: TensorLike): Tensor {
    return elementwise(e.pow, this, y);
  }
  minimum(y: TensorLike): Tensor {
    return elementwise(e.min, this, y);
  }
  maximum(y: TensorLike): Tensor {
    return elementwise(e.max, this, y);
  }
  /** 1 where this > y, else 0; no gradient. */
  greater(y: TensorLike): Tensor {
    return elementwise(e.gt, this, y);
  }
  greaterEqual(y: TensorLike): Tensor {
    return elementwise(e.ge, this, y);
  }
  less(y: TensorLike): Tensor {
    return elementwise(e.lt, this, y);
  }
  lessEqual(y: TensorLike): Tensor {
    return elementwise(e.le, this, y);
  }
  equal(y: TensorLike): Tensor {
    return elementwise(e.eq, this, y);
  }

  neg(): Tensor {
    return elementwise(e.neg, this);
  }
  abs(): Tensor {
    return elementwise(e.abs, this);
  }
  exp(): Tensor {
    return elementwise(e.exp, this);
  }
  log(): Tensor {
    return elementwise(e.log, this);
  }
  log1p(): Tensor {
    return elementwise(e.log1p, this);
  }
  sqrt(): Tensor {
    return elementwise(e.sqrt, this);
  }
  square(): Tensor {
    return elementwise((x) => e.mul(x, x), this);
  }
  tanh(): Tensor {
    return elementwise(e.tanh, this);
  }
  sigmoid(): Tensor {
    return elementwise(e.sigmoid, this);
  }
  relu(): Tensor {
    return elementwise((x) => e.max(x, 0), this);
  }
  /** The same numbers in another type, rounded to the nearest, ties to even. */
  cast(dtype: FloatType): Tensor {
    return this.dtype === dtype ? this : this.emit("map", [this], { exprs: [e.input(0)], dtypes: [dtype] });
  }
  floor(): Tensor {
    return elementwise(e.floor, this);
  }
  round(): Tensor {
    return elementwise(e.round, this);
  }
  /** Limits to [low, high]; no gradient outside. */
  clip(low: number, high: number): Tensor {
    if (!(low <= high)) throw new ShapeError(`clip(${low}, ${high}): the lower limit is above the upper one`);
    return elementwise((x) => e.min(e.max(x, low), high), this);
  }

  sum(options: ReduceOptions = {}): Tensor {
    return this.#reduce("sum", options);
  }
  max(options: ReduceOptions = {}): Tensor {
    return this.#reduce("max", options);
  }
  mean(options: ReduceOptions = {}): Tensor {
    const sum = this.#reduce("sum", options);
    return sum.mul(sizeOf(sum.shape) / sizeOf(this.shape));
  }

  #reduce(op: "sum" | "max", { axes, keepDims = false }: ReduceOptions): Tensor {
    const list = axes === undefined ? this.shape.map((_, axis) => axis) : [axes].flat();
    const normal = list.map((axis) => this.axis(axis)).sort((a, b) => a - b);
    return this.emit("reduce", [this], { op, axes: normal, keepDims });
  }

  /**
   * Matrix product [.., M, K] · [K, N], the leading axes of the left operand folded into M; or, where both have three axes
   * or more, of each of a batch [.., M, K] · [.., K, N] with the same leading axes.
   */
  matmul(b: Tensor, { transposeA = false, transposeB = false }: MatmulOptions = {}): Tensor {
    if (this.rank > 2 && b.rank > 2) return this.emit("batch_matmul", [this, b], { transposeA, transposeB });
    if (this.rank <= 2) return this.emit("matmul", [this, b], { transposeA, transposeB });
    if (transposeA) throw new ShapeError("matmul: transposeA needs a left operand of rank 2");
    const rows = this.reshape([-1, this.shape.at(-1)!]);
    const product = this.emit("matmul", [rows, b], { transposeA, transposeB });
    return product.reshape([...this.shape.slice(0, -1), product.shape[1]!]);
  }

  /** One length may be −1: it is what the others leave. */
  reshape(shape: Shape): Tensor {
    const known = sizeOf(shape.filter((d) => d !== -1));
    const open = shape.indexOf(-1);
    const full = open < 0 || known === 0 ? shape : shape.with(open, sizeOf(this.shape) / known);
    return this.emit("reshape", [this], { shape: full });
  }

  /** [B, ..] → [B, the rest]. */
  flatten(): Tensor {
    return this.reshape([this.shape[0] ?? 1, sizeOf(this.shape.slice(1))]);
  }

  /** Permutes the axes; by default reverses them. */
  transpose(perm?: readonly number[]): Tensor {
    const order = perm ?? this.shape.map((_, axis) => this.rank - 1 - axis);
    return this.emit("transpose", [this], { perm: order });
  }

  /** Entries [start, end) of an axis. */
  slice(axis: number, start: number, end: number): Tensor {
    return this.emit("slice", [this], { axis: this.axis(axis), start, end });
  }

  /** Zeros before and after an axis. */
  pad(axis: number, before: number, after: number): Tensor {
    return this.emit("pad", [this], { axis: this.axis(axis), before, after });
  }

  /** Repeats to a larger shape. */
  broadcastTo(shape: Shape): Tensor {
    const { dtype } = this;
    const half = dtype === "bf16" || dtype === "f16" ? { dtypes: [dtype] } : {};
    return this.emit("map", [this], { exprs: [e.input(0)], shape, ...half });
  }

  /** Softmax over the last axis. */
  softmax(): Tensor {
    return this.emit("softmax", [this], {});
  }

  /** The axis counted from the front; negative ones count from the end. */
  axis(axis: number): number {
    const normal = axis < 0 ? axis + this.rank : axis;
    if (!Number.isInteger(axis) || normal < 0 || normal >= this.rank) {
      throw new ShapeError(`axis ${axis} is not one of the ${this.rank} axes of [${this.shape.join(",")}]`);
    }
    return normal;
  }

  /** Appends an op and gives its first output. */
  emit<K extends OpKind>(kind: K, inputs: readonly Tensor[], attrs: OpAttrs[K]): Tensor {
    return emit(this.trace, kind, inputs, attrs)[0]!;
  }
}

/** Appends an op to a trace. */
export function emit<K extends OpKind>(trace: Trace, kind: K, inputs: readonly Tensor[], attrs: OpAttrs[K]): Tensor[] {
  for (const tensor of inputs) {
    if (tensor.trace !== trace) throw new ShapeError(`${kind}: its operands belong to two different traces`);
  }
  const ids = inputs.map((tensor) => tensor.id);
  return trace.builder.emit(kind, ids, attrs).map((id) => new Tensor(trace, id));
}

/**
 * Applies an expression to broadcast operands: `elementwise((x, y) => max(x, y), a, b)`. Numbers become constants.
 * @param build gets one expression for each operand
 */
export function elementwise(build: (...operands: e.Expr[]) => e.Expr, first: Tensor, ...rest: TensorLike[]): Tensor {
  const tensors: Tensor[] = [];
  const operands = [first, ...rest].map((operand) => {
    if (typeof operand === "number") return e.constant(operand);
    if (!tensors.includes(operand)) tensors.push(operand);
    return e.input(tensors.indexOf(operand));
  });
  return first.emit("map", tensors, { exprs: [build(...operands)] });
}
