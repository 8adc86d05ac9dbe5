// The two ways in which oneDNN multiplies matrices, bound to addresses in the heap: `dnnl_sgemm`, and the matmul primitive
// with bias, activation and accumulation fused in.
import type { Heap } from "../../../memory/index.ts";
import type { MatmulShape, MatmulSpec } from "../../provider.ts";
import type { Matrix } from "./dialect.ts";
import type { OneDnn } from "./library.ts";
import { Argument, type Handle, OneDnnError, Query } from "./native.ts";

/** A matmul primitive for one shape; the descriptors belong to it. */
export interface MatmulPrimitive {
  readonly primitive: Handle;
  /** Which code the library chose, e.g. "brg:avx512_core". */
  readonly implementation: string;
  readonly scratchBytes: number;
  readonly a: Handle;
  readonly b: Handle;
  readonly c: Handle;
  readonly scratch: Handle;
  readonly bias: Handle;
}

const QUERY_BIAS_INDEX = 1;
const EXEC_ARG_BYTES = 16;

/**
 * The primitive for `shape`, or undefined where the library has none or only reference code (hundreds of times slower).
 */
export function createMatmul({ native, dialect, engine }: OneDnn, shape: MatmulShape): MatmulPrimitive | undefined {
  const { m, n, k } = shape;
  const matrices: Matrix[] = [];
  const matrix = (rows: number, columns: number, transposed: boolean): Matrix => {
    const made = dialect.matrix(rows, columns, transposed ? 1 : columns, transposed ? rows : 1);
    matrices.push(made);
    return made;
  };
  const attributes = native.createAttributes();
  if (shape.activation || shape.accumulate) {
    const postOps = native.createPostOps();
    if (shape.accumulate) dialect.appendSum(postOps);
    if (shape.activation) dialect.appendActivation(postOps, shape.activation);
    native.setPostOps(attributes, postOps);
    native.call("dnnl_post_ops_destroy", ["void*"], postOps);
  }
  try {
    const a = matrix(m, k, shape.transposeA);
    const b = matrix(k, n, shape.transposeB);
    const bias = shape.bias === undefined ? null : matrix(1, n, false);
    const descriptor = dialect.matmul(engine, a, b, bias, matrix(m, n, false), attributes);
    const implementation = native.implementation(descriptor);
    if (implementation.startsWith("ref")) return undefined;
    const scratch = native.memoryDescriptor(descriptor, Query.scratchpad, 0);
    return {
      primitive: native.createPrimitive(descriptor),
      implementation,
      scratchBytes: native.byteLength(scratch),
      a: native.memoryDescriptor(descriptor, Query.source, 0),
      b: native.memoryDescriptor(descriptor, Query.weights, 0),
      bias: native.memoryDescriptor(descriptor, Query.weights, QUERY_BIAS_INDEX),
      c: native.memoryDescriptor(descriptor, Query.destination, 0),
      scratch,
    };
  } catch (error) {
    if (error instanceof OneDnnError) return undefined;
    throw error;
  } finally {
    for (const made of matrices) dialect.release(made);
    native.call("dnnl_primitive_attr_destroy", ["void*"], attributes);
  }
}

/** Binds a primitive to the addresses of `spec`; `base` is the address of the heap's first byte. */
export function bindMatmul(
  library: OneDnn,
  heap: Heap,
  base: bigint,
  made: MatmulPrimitive,
  spec: MatmulSpec,
): () => void {
  const { native, engine, stream } = library;
  const operands: [number, Handle, number][] = [
    [Argument.source, made.a, spec.a],
    [Argument.weights, made.b, spec.b],
    [Argument.destination, made.c, spec.c],
  ];
  if (spec.bias !== undefined) operands.push([Argument.bias, made.bias, spec.bias]);
  if (made.scratchBytes > 0) operands.push([Argument.scratchpad, made.scratch, spec.scratch]);
  const count = operands.length;
  const list = heap.alloc(count * EXEC_ARG_BYTES);
  const words = heap.u64(list, count * 2);
  const memories = operands.map(([argument, descriptor, address], i) => {
    const memory = native.createMemory(descriptor, engine, base + BigInt(address));
    words[2 * i] = BigInt(argument);
    words[2 * i + 1] = memory;
    return memory;
  });
  const { execute } = native;
  const { primitive } = made;
  const args = base + BigInt(list);
  const run = (): void => {
    const status = execute(primitive, stream, count, args);
    if (status !== 0) throw new OneDnnError("dnnl_primitive_execute", status);
  };
  dropped.register(run, () => {
    for (const memory of memories) native.destroyMemory(memory);
    heap.free(list);
  });
  return run;
}

/** Frees what a bound call holds outside of JavaScript once nobody can call it any more. */
const dropped = new FinalizationRegistry((release: () => void) => release());

const NO = "N".charCodeAt(0);
const YES = "T".charCodeAt(0);

/** `c = op(a)·op(b)`, or `c += …`; bias and activation are left to the caller. */
export function bindSgemm({ native }: OneDnn, base: bigint, spec: MatmulSpec): () => void {
  const { m, n, k } = spec;
  const { sgemm } = native;
  const transposeA = spec.transposeA ? YES : NO;
  const transposeB = spec.transposeB ? YES : NO;
  const [a, b, c] = [base + BigInt(spec.a), base + BigInt(spec.b), base + BigInt(spec.c)];
  const [lda, ldb] = [spec.transposeA ? m : k, spec.transposeB ? k : n];
  const beta = spec.accumulate ? 1 : 0;
  return () => {
    const status = sgemm(transposeA, transposeB, m, n, k, 1, a, lda, b, ldb, beta, c, n);
    if (status !== 0) throw new OneDnnError("dnnl_sgemm", status);
  };
}
