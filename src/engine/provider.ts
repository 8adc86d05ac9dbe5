// What a provider must offer: products, convolutions, pooling and norms of fixed shapes, bound to addresses as calls
// without arguments. Every provider passes the same contract suite. Images lie as NHWC, convolution weights as HWIO.
import type { FloatType } from "./plan.ts";

export type Activation = "relu" | "sigmoid" | "tanh";

/**
 * `c = activation(op(a) · op(b) + bias)`, for each of a batch. Row-major and contiguous unless `strides` say otherwise.
 * Products of half-precision operands are summed in f32 and rounded once, to the type of `c`.
 */
export interface MatmulSpec {
  /** Rows of `c`. */
  readonly m: number;
  /** Columns of `c`. */
  readonly n: number;
  /** The contracted length; 0 gives a product of zeros. */
  readonly k: number;
  /** `a` lies as [k, m] instead of [m, k]. */
  readonly transposeA: boolean;
  /** `b` lies as [n, k] instead of [k, n]. */
  readonly transposeB: boolean;
  /** Extents of the leading axes that a, b and c have in common; default none. */
  readonly batch?: readonly number[];
  /**
   * Strides in elements along [...batch, rows, columns] of op(a) [.., m, k], op(b) [.., k, n] and c [.., m, n]: one of the
   * last two is 1. Given together with `batch`; `transposeA` and `transposeB` are then false.
   */
  readonly strides?: { readonly a: readonly number[]; readonly b: readonly number[]; readonly c: readonly number[] };
  /** Element types; default f32. */
  readonly types?: { readonly a: FloatType; readonly b: FloatType; readonly c: FloatType };
  /** Byte addresses in the heap. */
  readonly a: number;
  readonly b: number;
  readonly c: number;
  /** Byte address of n f32 numbers added to each row of the product; rows of c are contiguous then. */
  readonly bias?: number;
  readonly activation?: Activation;
  /** Add the product to what `c` holds; excludes `bias` and `activation`. */
  readonly accumulate?: boolean;
  /** Byte address of memory that the call may use while it runs, and how much of it there is. */
  readonly scratch: number;
  readonly scratchBytes: number;
}

/** The part of a spec that is known before any address is. */
export type MatmulShape = Omit<MatmulSpec, "a" | "b" | "c" | "scratch" | "scratchBytes">;

/** Memory that a call may use while it runs. */
export interface Scratch {
  readonly scratch: number;
  readonly scratchBytes: number;
}

/** A kind of work that a provider does: how much scratch a shape needs, and binding it to byte addresses. */
export interface Work<Shape, Addresses> {
  scratchBytes(shape: Shape): number;
  /** The bound call. Calling it allocates nothing. */
  bind(shape: Shape, at: Addresses & Scratch): () => void;
}

/**
 * A 2-D convolution, x [batch, height, width, channels] with w [kernelHeight, kernelWidth, channels / groups, outChannels]
 * to y [batch, outHeight, outWidth, outChannels], or one of its gradients. Rows and columns of padding are zeros; padding
 * after follows from the sizes.
 */
export interface ConvShape {
  /** `forward`: x, w → y; `input`: dy, w → dx; `weights`: x, dy → dw. */
  readonly direction: "forward" | "input" | "weights";
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly outChannels: number;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly strideHeight: number;
  readonly strideWidth: number;
  /** Distance of neighbouring kernel elements; 1 = dense. */
  readonly dilationHeight: number;
  readonly dilationWidth: number;
  readonly padTop: number;
  readonly padLeft: number;
  readonly groups: number;
  /** `forward`: add a bias [outChannels] f32; `weights`: also give its gradient. */
  readonly bias: boolean;
  /** Only `forward`. */
  readonly activation?: "relu";
  /** Of x, w and y (of dx, dw and dy in the gradients). The bias and its gradient are f32. */
  readonly types: { readonly x: FloatType; readonly w: FloatType; readonly y: FloatType };
}

/** x, w and y, or dx, dw and dy in the gradients. */
export interface ConvAddresses {
  readonly x: number;
  readonly w: number;
  readonly y: number;
  /** The bias or its gradient, where the shape has one. */
  readonly bias?: number;
}

/**
 * Pooling of x [batch, height, width, channels] by windows to y [batch, outHeight, outWidth, channels], or its gradient.
 * `max` gives with y the place of the maximum in its window, u8, row by row from 0 (so windows have at most 256 places);
 * the first of several equal ones. Padding never is the maximum. `average` divides by the places inside the picture, or
 * by the whole window with `countPadding`.
 */
export interface PoolShape {
  /** `forward`: x → y, places; `input`: dy, places → dx. */
  readonly direction: "forward" | "input";
  readonly mode: "max" | "average";
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly strideHeight: number;
  readonly strideWidth: number;
  readonly padTop: number;
  readonly padLeft: number;
  readonly countPadding: boolean;
  /** Of x and y. */
  readonly type: FloatType;
}

export interface PoolAddresses {
  readonly x: number;
  readonly y: number;
  /** u8, of y's shape; only `max`. */
  readonly places?: number;
}

/**
 * Normalisation of x [rows, columns]: `layer` of each row, `batch` of each column over all rows.
 * Forward: `y = (x − mean) · rstd · gamma + beta`, with mean and rstd = 1 / √(variance + epsilon) (biased variance) of the
 * rows or columns as results. Backward: dy, x, gamma, mean, rstd → dx, dgamma, dbeta.
 */
export interface NormShape {
  readonly direction: "forward" | "backward";
  readonly axis: "layer" | "batch";
  readonly rows: number;
  readonly columns: number;
  readonly epsilon: number;
  /** Of x and y (dx and dy); everything else is f32. */
  readonly type: FloatType;
}

/** In the backward direction y and x are dy and x, and dx, dgamma, dbeta are written. */
export interface NormAddresses {
  readonly x: number;
  readonly y: number;
  readonly gamma: number;
  /** Only read forward. */
  readonly beta: number;
  readonly mean: number;
  readonly rstd: number;
  readonly dx?: number;
  readonly dgamma?: number;
  readonly dbeta?: number;
}

export interface Provider {
  readonly name: "wasm" | "onednn";
  /** Whether products of bf16 run at a higher rate than those of f32, by the processor's own instructions. */
  readonly nativeBf16: boolean;
  /** Scratch that `matmul` needs for this shape. */
  scratchBytes(spec: MatmulShape): number;
  /** The bound call. Calling it allocates nothing. */
  matmul(spec: MatmulSpec): () => void;
  readonly conv: Work<ConvShape, ConvAddresses>;
  readonly pool: Work<PoolShape, PoolAddresses>;
  readonly norm: Work<NormShape, NormAddresses>;
}
