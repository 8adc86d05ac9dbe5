// The ways in which oneDNN multiplies matrices: `dnnl_sgemm`, and the matmul primitive with bias, activation and
// accumulation fused in, on operands as they lie or with the right one packed first.
import { bytesOf } from "../../plan.ts";
import type { MatmulShape, MatmulSpec } from "../../provider.ts";
import { bindEpilogue, type WasmKernels } from "../wasm/provider.ts";
import { type Candidate, renamed, SAMPLE_FLOPS, type Sample } from "./choose.ts";
import { Argument } from "./native.ts";
import {
  asTheyLie,
  contiguous,
  createPrimitive,
  type Freedom,
  type Implementation,
  type Operand,
  type Runtime,
  sequence,
  withDescriptors,
  withReorders,
} from "./primitive.ts";
import { bindSgemm, type Matrix, type Product, suitsSgemm } from "./sgemm.ts";
import { transposed } from "./turned.ts";

/** Addresses of a product's operands. */
export type MatmulAddresses = Pick<MatmulSpec, "a" | "b" | "c" | "bias">;

const F32 = { a: "f32", b: "f32", c: "f32" } as const;

/** What distinguishes two shapes for a choice. */
export function matmulKey(shape: MatmulShape): string {
  const { m, n, k, batch, strides, types } = shape;
  const layout = `${shape.transposeA ? "T" : "N"}${shape.transposeB ? "T" : "N"}`;
  const epilogue = `${shape.bias === undefined ? "" : "+bias"}${shape.activation ? `+${shape.activation}` : ""}`;
  const place = batch === undefined ? "" : ` batch ${batch.join("x")}`;
  const steps = strides === undefined ? "" : ` strides ${[strides.a, strides.b, strides.c].join(" ")}`;
  const kinds = types === undefined ? "" : ` ${types.a} ${types.b} ${types.c}`;
  return `${m}x${n}x${k}${layout}${epilogue}${shape.accumulate ? "+c" : ""}${place}${steps}${kinds}`;
}

/** The ways for a shape, the best by rule first: fuse the epilogue where there is one; `dnnl_sgemm` knows vectors. */
export function matmulCandidates(
  runtime: Runtime,
  kernels: WasmKernels,
  shape: MatmulShape,
): Candidate<MatmulAddresses>[] {
  const turned = turn(shape);
  if (turned !== undefined) {
    return renamed(matmulCandidates(runtime, kernels, turned), ({ a, b, c }) => ({ a: b, b: a, c }));
  }
  const product = productOf(shape);
  const types = shape.types ?? F32;
  const matmul: Candidate<MatmulAddresses> = {
    method: "matmul",
    create: () => createMatmul(runtime, shape, product, asTheyLie) ?? createWidened(runtime, shape, product),
  };
  if (types.a !== "f32" || types.b !== "f32" || types.c !== "f32") {
    return [matmul, { method: "packed", create: () => createMatmul(runtime, shape, product, freeRight) }];
  }
  const hasEpilogue = shape.bias !== undefined || shape.activation !== undefined;
  if (!suitsSgemm(product) || (hasEpilogue && shape.strides !== undefined)) return [matmul];
  const sgemm: Candidate<MatmulAddresses> = { method: "sgemm", create: () => createSgemm(runtime, kernels, shape) };
  const isVectors = shape.m === 1 || shape.n === 1 || shape.k === 1;
  if (isNarrow(shape) && !hasEpilogue) return [turnedCandidate(runtime, shape), sgemm, matmul];
  if (isVectors || !hasEpilogue) return [sgemm, matmul];
  const packed: Candidate<MatmulAddresses> = {
    method: "packed",
    create: () => createMatmul(runtime, shape, product, freeRight),
  };
  return shape.m >= PACKING_ROWS && shape.n * shape.k >= PACKING_WEIGHTS ? [packed, matmul, sgemm] : [matmul, sgemm];
}

/**
 * From these sizes on, packing the right operand costs a few percent of the product and gains more: with a bias, products of
 * 1024 rows with 768² to 768·3072 weights run at 180–207 GFLOP/s packed and at 153–169 as they lie (one core of an AMD EPYC
 * with AVX-512, oneDNN 2.6). What lies in between is left to the rule that fuses.
 */
const PACKING_ROWS = 256;
const PACKING_WEIGHTS = 2 ** 18;

/**
 * A gradient of weights with few columns. Products fill the processor's vectors with columns, and transposing such a result
 * costs next to nothing: cᵀ = bᵀ·a takes 22 µs for 400×10×512 where aᵀ·b takes 39, and 36 µs for 768×2×1024 instead of 155
 * (one core of an AMD EPYC with AVX-512, oneDNN 2.6).
 */
const isNarrow = ({ m, n, transposeA, transposeB, strides, accumulate }: MatmulShape): boolean =>
  n > 1 && n < LANES && m >= 2 * n && transposeA && !transposeB && strides === undefined && !accumulate;

/** f32 numbers in a vector of the widest processors. */
const LANES = 16;

function turnedCandidate(runtime: Runtime, shape: MatmulShape): Candidate<MatmulAddresses> {
  const { m, n } = shape;
  const turned = { ...shape, m: n, n: m };
  const create = (): Implementation<MatmulAddresses> | undefined =>
    createMatmul(runtime, turned, productOf(turned), asTheyLie);
  const swap = ({ a, b, c }: MatmulAddresses): MatmulAddresses => ({ a: b, b: a, c });
  const [product] = renamed([{ method: "turned", create }], swap);
  const result = { name: "c", rows: m, columns: n, type: "f32" } as const;
  return { method: "turned", create: () => transposed(runtime, result, product!.create()) };
}

/** Where c lies by columns: cᵀ = bᵀ·aᵀ, whose result lies by rows. A bias would then be one of rows, which nobody offers. */
function turn(shape: MatmulShape): MatmulShape | undefined {
  const { m, n, strides, types } = shape;
  if (strides === undefined || strides.c.at(-1) === 1 || shape.bias !== undefined) return undefined;
  const swap = (values: readonly number[]): number[] => [...values.slice(0, -2), values.at(-1)!, values.at(-2)!];
  return {
    ...shape,
    ...{ m: n, n: m },
    strides: { a: swap(strides.b), b: swap(strides.a), c: swap(strides.c) },
    ...(types && { types: { a: types.b, b: types.a, c: types.c } }),
  };
}

/** A product of the same kind with its longest sides halved until it takes a millisecond or two. */
export function matmulSample(runtime: Runtime, kernels: WasmKernels, shape: MatmulShape): Sample<MatmulAddresses> {
  const small = shape.strides === undefined ? reduced(shape) : shape;
  const { m, n } = small;
  const types = shape.types ?? F32;
  const product = productOf(small);
  const extent = (name: "a" | "b" | "c"): number => {
    const { rows, columns, rowStride, columnStride } = product[name];
    const last = product.batch.reduce(
      (sum, length, axis) => sum + (length - 1) * product.batchStrides[name][axis]!,
      (rows - 1) * rowStride + (columns - 1) * columnStride,
    );
    return (last + 1) * bytesOf[types[name]];
  };
  return {
    candidates: matmulCandidates(runtime, kernels, small),
    sizes: [extent("a"), extent("b"), extent("c"), m === 0 ? 0 : n * 4],
    place: ([a, b, c, bias]) => ({
      ...{ a: a!, b: b!, c: c! },
      ...(shape.bias === undefined ? {} : { bias: bias! }),
    }),
  };
}

function reduced(shape: MatmulShape): MatmulShape {
  let { m, n, k } = shape;
  while (2 * m * n * k > SAMPLE_FLOPS && Math.max(m, n, k) > 1) {
    const longest = Math.max(m, n, k);
    if (m === longest) m = Math.ceil(m / 2);
    else if (k === longest) k = Math.ceil(k / 2);
    else n = Math.ceil(n / 2);
  }
  return { ...shape, m, n, k };
}

function productOf(shape: MatmulShape): Product {
  const { m, n, k, batch = [], strides } = shape;
  const matrix = (rows: number, columns: number, [rowStride, columnStride]: readonly number[]): Matrix => ({
    ...{ rows, columns, columnStride: columnStride! },
    // The library asks a distance of at least a row also of a single row's neighbour.
    rowStride: rows === 1 && columnStride === 1 ? columns : rowStride!,
  });
  const plain = (rows: number, columns: number, transposed: boolean): number[] =>
    transposed ? [1, rows] : [columns, 1];
  const { a, b, c } = strides ?? {
    a: plain(m, k, shape.transposeA),
    b: plain(k, n, shape.transposeB),
    c: plain(m, n, false),
  };
  const rank = batch.length;
  return {
    batch,
    a: matrix(m, k, a.slice(rank)),
    b: matrix(k, n, b.slice(rank)),
    c: matrix(m, n, c.slice(rank)),
    batchStrides: { a: a.slice(0, rank), b: b.slice(0, rank), c: c.slice(0, rank) },
  };
}

const freeRight: Freedom = { isFree: ({ argument }) => argument === Argument.weights };

/** In f32, where the library does not multiply the operands' types. What c held would have to be converted too. */
function createWidened(
  runtime: Runtime,
  shape: MatmulShape,
  product: Product,
): Implementation<MatmulAddresses> | undefined {
  return shape.accumulate ? undefined : createMatmul(runtime, shape, product, { ...asTheyLie, type: "f32" });
}

function createMatmul(
  runtime: Runtime,
  shape: MatmulShape,
  product: Product,
  freedom: Freedom,
): Implementation<MatmulAddresses> | undefined {
  const { library } = runtime;
  const types = shape.types ?? F32;
  const operand = (name: "a" | "b" | "c", argument: number): Operand => {
    const { rows, columns, rowStride, columnStride } = product[name];
    return {
      ...{ argument, type: types[name], written: name === "c" },
      dims: [...product.batch, rows, columns],
      strides: [...product.batchStrides[name], rowStride, columnStride],
    };
  };
  const biasDims = [...product.batch.map(() => 1), 1, shape.n];
  const bias: Operand = {
    ...{ argument: Argument.bias, type: "f32", written: false },
    ...{ dims: biasDims, strides: contiguous(biasDims) },
  };
  const operands = [operand("a", Argument.source), operand("b", Argument.weights), operand("c", Argument.destination)];
  const primitive = createPrimitive(
    library,
    (attributes) =>
      withDescriptors(library, [...operands, bias], freedom, (a, b, c, descriptor) =>
        library.dialect.matmul(library.engine, a!, b!, shape.bias === undefined ? null : descriptor!, c!, attributes),
      ),
    shape,
  );
  if (primitive === undefined) return undefined;
  const bound = withReorders(runtime, primitive, operands);
  if (bound === undefined) return undefined;
  const { scratchBytes, bind } = bound;
  return {
    scratchBytes,
    bind: ({ a, b, c, bias: biasAddress, scratch, scratchBytes: available }) =>
      bind({
        arguments: {
          ...{ [Argument.source]: a, [Argument.weights]: b, [Argument.destination]: c },
          ...(biasAddress === undefined ? {} : { [Argument.bias]: biasAddress }),
        },
        ...{ scratch, scratchBytes: available },
      }),
  };
}

/** Of f32 operands that lie as `dnnl_sgemm` takes them: the plain layouts all do. */
export function createSgemm(
  runtime: Runtime,
  kernels: WasmKernels,
  shape: MatmulShape,
): Implementation<MatmulAddresses> {
  const product = productOf(shape);
  return {
    scratchBytes: 0,
    bind(at) {
      const call = bindSgemm(runtime, product, { ...at, accumulate: shape.accumulate ?? false });
      const epilogue = bindEpilogue({ ...shape, ...at }, kernels.gemv);
      return sequence(epilogue === undefined ? [call] : [call, epilogue]);
    },
  };
}
