// Products by `dnnl_sgemm`: f32 matrices with rows or columns that lie one after the other, one call for each of a batch.
import type { MatmulSpec } from "../../provider.ts";
import { OneDnnError } from "./native.ts";
import type { Runtime } from "./primitive.ts";

/** A matrix in memory: strides in elements. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

/** A product with its operands' batch strides, in elements. */
export interface Product {
  readonly batch: readonly number[];
  readonly a: Matrix;
  readonly b: Matrix;
  readonly c: Matrix;
  readonly batchStrides: {
    readonly a: readonly number[];
    readonly b: readonly number[];
    readonly c: readonly number[];
  };
}

interface Layout {
  readonly transposed: number;
  readonly leading: number;
}

const NO = "N".charCodeAt(0);
const YES = "T".charCodeAt(0);
const BYTES = 4;

/** How `dnnl_sgemm` is told of a matrix, or undefined where it cannot be. */
function layoutOf({ rows, columns, rowStride, columnStride }: Matrix): Layout | undefined {
  if ((columnStride === 1 || columns === 1) && rowStride >= columns) return { transposed: NO, leading: rowStride };
  if ((rowStride === 1 || rows === 1) && columnStride >= rows) return { transposed: YES, leading: columnStride };
  return undefined;
}

/** Whether `bindSgemm` can. */
export function suitsSgemm({ a, b, c }: Product): boolean {
  return [a, b].every((matrix) => layoutOf(matrix) !== undefined) && layoutOf(c)?.transposed === NO;
}

/** `c = a·b`, or `c += …`; bias and activation are left to the caller. */
export function bindSgemm(
  { library, base }: Runtime,
  product: Product,
  at: Pick<MatmulSpec, "a" | "b" | "c" | "accumulate">,
): () => void {
  const { sgemm } = library.native;
  const [m, n, k] = [product.c.rows, product.c.columns, product.a.columns];
  const [a, b, c] = [layoutOf(product.a)!, layoutOf(product.b)!, layoutOf(product.c)!];
  const beta = at.accumulate ? 1 : 0;
  const places = (["a", "b", "c"] as const).map((name) =>
    offsets(product.batch, product.batchStrides[name]).map((offset) => base + BigInt(at[name] + offset * BYTES)),
  );
  const [as, bs, cs] = places as [bigint[], bigint[], bigint[]];
  const count = as.length;
  return () => {
    for (let i = 0; i < count; i++) {
      const status = sgemm(
        ...([a.transposed, b.transposed, m, n, k, 1, as[i]!, a.leading, bs[i]!, b.leading] as const),
        ...([beta, cs[i]!, c.leading] as const),
      );
      if (status !== 0) throw new OneDnnError("dnnl_sgemm", status);
    }
  };
}

/** Of each element of a batch, in the order of its indices. */
function offsets(extents: readonly number[], strides: readonly number[]): number[] {
  return extents.reduce<number[]>(
    (before, extent, axis) =>
      before.flatMap((offset) => Array.from({ length: extent }, (_, i) => offset + i * strides[axis]!)),
    [0],
  );
}
