// The intermediate representation: a program is plain data (it can be cloned between threads and written as JSON).
// Values are static in shape and dtype; ops stand in the order in which they run.
import type { Window } from "../engine/geometry.ts";
import type { DType, FloatType } from "../engine/plan.ts";
import type { Expr } from "../kernels/expr.ts";
import type { TableSpec } from "../table/spec.ts";

export type { Window } from "../engine/geometry.ts";
export type { DType, FloatType } from "../engine/plan.ts";
export type { TableField, TableSpec } from "../table/spec.ts";

export type Shape = readonly number[];
/** Index of a value in `Program.values`. */
export type ValueId = number;

export interface TensorType {
  readonly shape: Shape;
  readonly dtype: DType;
}

export interface Value extends TensorType {
  readonly id: ValueId;
  readonly name: string;
}

/**
 * How a parameter starts. Fans default to the shape's own: [I, O] of a matrix, [KH·KW·I, KH·KW·O] of a convolution.
 * - `uniform`: [−scale, scale]; `normal`: standard deviation `scale`; `truncated-normal`: the same, drawn again beyond 2·scale;
 * - `orthogonal`: orthonormal columns, or rows where there are fewer, times `scale`, default 1 (arXiv 1312.6120); what is
 *   no matrix counts as one of its last axis's columns;
 * - `copy`: as the parameter of that name does;
 * - `glorot-*` (Xavier): variance 2 / (fanIn + fanOut) (Glorot & Bengio 2010);
 * - `he-*` (Kaiming): variance 2 / fanIn (He et al. 2015);
 * - `fan-in-uniform`: [−1/√fanIn, 1/√fanIn], as PyTorch starts linear and convolution layers.
 */
export type Init =
  | { readonly kind: "zeros" | "ones" }
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "uniform" | "normal" | "truncated-normal"; readonly scale: number }
  | { readonly kind: "orthogonal"; readonly scale?: number }
  | { readonly kind: "copy"; readonly of: string }
  | {
      readonly kind: "glorot-uniform" | "glorot-normal" | "he-uniform" | "he-normal" | "fan-in-uniform";
      readonly fanIn?: number;
      readonly fanOut?: number;
    };

/** A tensor that outlives the step and is shared by all trainers: a weight, a running statistic or optimizer state. */
export interface Parameter {
  readonly value: ValueId;
  readonly init: Init;
  readonly trainable: boolean;
  /** What an optimizer may treat apart: "default", "wide", "bias", …; optimizer state has "optimizer". */
  readonly group: string;
}

/** The attributes of every op kind; kinds and their inputs and outputs are listed in docs/architecture.md. */
export interface OpAttrs {
  /**
   * One output per expression; the inputs broadcast to the outputs' shape. `shape` is given where the inputs do not span it.
   * `dtypes` are those of the outputs, default all f32: a cast is a map of expression `input(0)`.
   * `derivatives[k][i]`, where given, is the derivative of expression k by input i: it replaces the derived one.
   */
  readonly map: {
    readonly exprs: readonly Expr[];
    readonly shape?: Shape;
    readonly dtypes?: readonly FloatType[];
    readonly derivatives?: readonly (readonly Expr[])[];
  };
  /** One output per expression of the broadcast inputs, all in one pass; by default the only one is input 0. Always f32. */
  readonly reduce: {
    readonly op: "sum" | "max";
    readonly axes: readonly number[];
    readonly keepDims: boolean;
    readonly exprs?: readonly Expr[];
  };
  /**
   * Passes over each row of `shape`, its last axis; lowering makes these ops, after differentiation. Expressions read the
   * inputs, which broadcast to `shape`, and as operands behind them the results of the stages. `exprs` give tensors of
   * `shape` and `dtypes` (default all f32), `rowExprs` f32 numbers, one a row.
   */
  readonly rows: {
    readonly stages: readonly { readonly op: "sum" | "max"; readonly expr: Expr }[];
    readonly exprs: readonly Expr[];
    readonly rowExprs: readonly Expr[];
    readonly shape: Shape;
    readonly dtypes?: readonly FloatType[];
  };
  readonly matmul: {
    readonly transposeA: boolean;
    readonly transposeB: boolean;
    readonly activation?: Activation;
    /** Of the result; default f32. */
    readonly dtype?: FloatType;
  };
  /** Products of a [.., M, K] and b [.., K, N] with the same leading axes. */
  readonly batch_matmul: {
    readonly transposeA: boolean;
    readonly transposeB: boolean;
    /**
     * The operand (or result) lies in memory with its axes in another order: what is multiplied is its transpose by these
     * axes (what is stored is the result's transpose). So heads of an attention need no copies.
     */
    readonly permA?: readonly number[];
    readonly permB?: readonly number[];
    readonly permC?: readonly number[];
    readonly dtype?: FloatType;
  };
  readonly conv2d: Window & { readonly groups: number; readonly activation?: "relu"; readonly dtype?: FloatType };
  /** `shape` is that of x. */
  readonly conv2d_input_grad: Window & { readonly groups: number; readonly shape: Shape; readonly dtype?: FloatType };
  /** `shape` is that of the weights; with `bias` its gradient is a second result. */
  readonly conv2d_weight_grad: Window & {
    readonly groups: number;
    readonly shape: Shape;
    readonly bias: boolean;
    readonly dtype?: FloatType;
  };
  readonly pool2d: Pooling2d & {
    /** With `max`, give the places of the maxima, which the gradient needs. */
    readonly training: boolean;
  };
  /** `shape` is that of x. */
  readonly pool2d_grad: Pooling2d & { readonly shape: Shape };
  readonly embedding: Record<never, never>;
  /** `rows` is the number of rows of the weights. */
  readonly embedding_grad: { readonly rows: number };
  readonly lstm: Record<never, never>;
  readonly lstm_grad: Record<never, never>;
  readonly gru: Record<never, never>;
  readonly gru_grad: Record<never, never>;
  readonly reshape: { readonly shape: Shape };
  readonly concat: { readonly axis: number };
  readonly slice: { readonly axis: number; readonly start: number; readonly end: number };
  readonly pad: { readonly axis: number; readonly before: number; readonly after: number };
  readonly transpose: { readonly perm: readonly number[] };
  readonly softmax: Record<never, never>;
  readonly softmax_grad: Record<never, never>;
  readonly softmax_cross_entropy: Record<never, never>;
  readonly softmax_cross_entropy_grad: Record<never, never>;
  /** `dtype` is that of y, and of dx in the gradients; default f32. */
  readonly layer_norm: { readonly epsilon: number; readonly dtype?: FloatType };
  readonly layer_norm_grad: { readonly dtype?: FloatType };
  readonly batch_norm: {
    readonly epsilon: number;
    readonly momentum: number;
    readonly training: boolean;
    readonly dtype?: FloatType;
  };
  readonly batch_norm_grad: { readonly dtype?: FloatType };
  readonly lookup: { readonly table: string; readonly insert: boolean };
  readonly gather: { readonly table: string; readonly field: string };
  readonly gather_pool: { readonly table: string; readonly field: string; readonly mode: Pooling };
  readonly scatter_update: {
    readonly table: string;
    readonly lookups: number;
    readonly contributions: readonly { readonly lookup: number; readonly field: string; readonly pool?: Pooling }[];
    /** Names of the scalar inputs that follow the gradients, by field; an input per name. */
    readonly scalars: Readonly<Record<string, readonly string[]>>;
  };
  /**
   * Gradients side by side, flat, each from a multiple of 16 elements on; the ranks' sum of them is on its way from here on.
   * What reads the result must come behind its `bucket_wait`.
   */
  readonly bucket: { readonly name: string };
  /** The bucket when its sum is there, in place. */
  readonly bucket_wait: { readonly name: string };
  /**
   * Collectives over `ranks` ranks, which all run the same program; `name` is unique in it. With `root` only that rank keeps
   * the sum, the others get zeros.
   */
  readonly all_reduce: Collective & { readonly op: "sum" | "max"; readonly root?: number };
  readonly all_gather: Collective;
  readonly reduce_scatter: Collective;
  readonly broadcast: Collective & { readonly root: number };
  readonly all_to_all: Collective;
  readonly fm: Record<never, never>;
  readonly fm_grad: Record<never, never>;
  readonly update: {
    readonly exprs: readonly Expr[];
    readonly targets: readonly number[];
    /** The targets are running statistics: of several trainers of one model in step, one moves them. */
    readonly statistics?: true;
  };
}

/** What collectives of a program have in common. */
export type Collective = { readonly name: string; readonly ranks: number };

export type Pooling2d = {
  readonly mode: "max" | "average";
  /** Height and width of the window. */
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number, number, number];
  /** Averages divide by the whole window, padding too. */
  readonly countPadding: boolean;
};

export type Activation = "relu" | "sigmoid" | "tanh";
export type Pooling = "sum" | "mean";
export type OpKind = keyof OpAttrs;

export interface OpOf<K extends OpKind> {
  readonly kind: K;
  readonly inputs: readonly ValueId[];
  readonly outputs: readonly ValueId[];
  readonly attrs: OpAttrs[K];
  /** Where in the model the op stands, as "mlp/0". */
  readonly scope: string;
}

/** A union over the kinds, so that a test of `kind` narrows `attrs`. */
export type Op = { [K in OpKind]: OpOf<K> }[OpKind];

export interface Program {
  /** `values[id].id === id`. */
  readonly values: readonly Value[];
  readonly ops: readonly Op[];
  /** What each step supplies: batch columns, `scalar:NAME`, `seed`. */
  readonly inputs: Readonly<Record<string, ValueId>>;
  readonly parameters: Readonly<Record<string, Parameter>>;
  readonly tables: Readonly<Record<string, TableSpec>>;
  readonly outputs: Readonly<Record<string, ValueId>>;
}

/** The number of elements of a shape. */
export const sizeOf = (shape: Shape): number => shape.reduce((n, d) => n * d, 1);

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => d === b[i]);

/** "f32[512,16]". */
export const formatType = (type: TensorType): string => `${type.dtype}[${type.shape.join(",")}]`;
