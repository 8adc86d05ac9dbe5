// What a provider of dense contractions must offer: binding a matmul of fixed shapes and addresses to a call without
// arguments. Every provider passes the same contract suite.

export type Activation = "relu" | "sigmoid" | "tanh";

/** `c = activation(op(a) · op(b) + bias)`; all tensors are f32, row-major and contiguous. */
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
  /** Byte addresses in the heap. */
  readonly a: number;
  readonly b: number;
  readonly c: number;
  /** Byte address of n numbers added to each row of the product. */
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

export interface Provider {
  readonly name: "wasm" | "onednn";
  /** Scratch that `matmul` needs for this shape. */
  scratchBytes(spec: MatmulShape): number;
  /** The bound call. Calling it allocates nothing. */
  matmul(spec: MatmulSpec): () => void;
}
