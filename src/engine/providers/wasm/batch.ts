// Products of batches and of half-precision types, on top of an f32 product of matrices whose rows may lie apart: operands of
// other types are brought to dense f32 matrices in scratch memory, entry by entry, and results back.
import type { Heap } from "../../../memory/index.ts";
import { bytesOf, type FloatType } from "../../plan.ts";
import type { MatmulShape, MatmulSpec } from "../../provider.ts";
import { type Converter, converter, copyBytes, padded, runAll, ScratchBlock } from "./half.ts";

/** A matrix as it lies in memory. */
interface Layout {
  readonly rows: number;
  readonly columns: number;
  /** Elements from row to row. */
  readonly stride: number;
  /** What is wanted is the transpose. */
  readonly transposed: boolean;
  readonly type: FloatType;
}

interface Layouts {
  readonly a: Layout;
  readonly b: Layout;
  readonly c: Layout;
}

/** The f32 product that a provider binds: no batch; `strides` where rows lie apart, and then those of c by rows. */
export interface DenseProduct {
  scratchBytes(shape: MatmulShape): number;
  bind(spec: MatmulSpec): () => void;
}

const F32 = { a: "f32", b: "f32", c: "f32" } as const;

/** Whether a product needs nothing of what is done here. */
export const isPlain = ({ batch = [], strides, types = F32 }: MatmulShape): boolean =>
  batch.length === 0 && strides === undefined && Object.values(types).every((type) => type === "f32");

/** How the operands of each entry lie. */
export function layoutsOf(shape: MatmulShape): Layouts {
  const { m, n, k, transposeA, transposeB, strides, types = F32 } = shape;
  const of = (name: "a" | "b" | "c", rows: number, columns: number, transposed: boolean): Layout => {
    const type = types[name];
    if (strides === undefined) {
      return transposed
        ? { rows: columns, columns: rows, stride: rows, transposed, type }
        : { rows, columns, stride: columns, transposed, type };
    }
    const [row, column] = strides[name].slice(-2) as [number, number];
    if (column === 1 || columns === 1) return { rows, columns, stride: row, transposed: false, type };
    return { rows: columns, columns: rows, stride: column, transposed: true, type };
  };
  return { a: of("a", m, k, transposeA), b: of("b", k, n, transposeB), c: of("c", m, n, false) };
}

/** As it lies in its f32 copy. */
const copied = (layout: Layout): Layout =>
  layout.type === "f32" ? layout : { ...layout, stride: layout.columns, type: "f32" };

const layoutBytes = ({ type, rows, columns }: Layout): number => copyBytes(type, rows * columns);

/** The f32 product of one entry; a result that lies by columns is the product of the transposes. */
function entryShape(shape: MatmulShape, layouts: Layouts): MatmulShape {
  const { m, n, k, bias, activation, accumulate } = shape;
  const turned = layouts.c.transposed;
  const c = copied(layouts.c);
  const [a, b] = turned ? [copied(layouts.b), copied(layouts.a)] : [copied(layouts.a), copied(layouts.b)];
  const isTransposed = (layout: Layout): boolean => layout.transposed !== turned;
  const dense = [a, b, c].every(({ rows, columns, stride }) => stride === columns || rows === 1);
  const along = (layout: Layout): number[] => (isTransposed(layout) ? [1, layout.stride] : [layout.stride, 1]);
  return {
    ...{ m: turned ? n : m, n: turned ? m : n, k },
    transposeA: dense && isTransposed(a),
    transposeB: dense && isTransposed(b),
    ...(!dense && { strides: { a: along(a), b: along(b), c: [c.stride, 1] } }),
    ...(bias !== undefined && { bias }),
    ...(activation !== undefined && { activation }),
    ...(accumulate !== undefined && { accumulate }),
  };
}

export function batchScratchBytes(shape: MatmulShape, dense: DenseProduct): number {
  const layouts = layoutsOf(shape);
  const own = padded(dense.scratchBytes(entryShape(shape, layouts)));
  return own + layoutBytes(layouts.a) + layoutBytes(layouts.b) + layoutBytes(layouts.c);
}

export function bindBatch(heap: Heap, spec: MatmulSpec, dense: DenseProduct): () => void {
  const layouts = layoutsOf(spec);
  const shape = entryShape(spec, layouts);
  const { accumulate, bias } = spec;
  const converters = converter(heap);
  const block = new ScratchBlock(spec.scratch);
  const scratchBytes = dense.scratchBytes(shape);
  const scratch = block.take(scratchBytes);
  const copyOf = (layout: Layout): number => (layout.type === "f32" ? 0 : block.take(layoutBytes(layout)));
  const copies = { a: copyOf(layouts.a), b: copyOf(layouts.b), c: copyOf(layouts.c) };
  const calls: (() => void)[] = [];
  for (const entry of entriesOf(spec)) {
    const at = { a: copies.a || entry.a, b: copies.b || entry.b, c: copies.c || entry.c };
    for (const name of accumulate ? (["a", "b", "c"] as const) : (["a", "b"] as const)) {
      if (copies[name] !== 0) calls.push(bring(converters, layouts[name], entry[name], at[name]));
    }
    const [a, b] = layouts.c.transposed ? [at.b, at.a] : [at.a, at.b];
    calls.push(dense.bind({ ...shape, a, b, c: at.c, scratch, scratchBytes, ...(bias !== undefined && { bias }) }));
    if (copies.c !== 0) calls.push(take(converters, layouts.c, at.c, entry.c));
  }
  return runAll(calls);
}

/** The rows of a matrix to a dense f32 copy. */
function bring({ read, readRows }: Converter, layout: Layout, from: number, to: number): () => void {
  const { type, rows, columns, stride } = layout;
  if (stride === columns || rows === 1) return read(type, from, to, rows * columns);
  return readRows(type, from, stride * bytesOf[type], to, rows, columns);
}

/** The rows of a dense f32 copy to a matrix. */
function take({ write, writeRows }: Converter, layout: Layout, from: number, to: number): () => void {
  const { type, rows, columns, stride } = layout;
  if (stride === columns || rows === 1) return write(type, from, to, rows * columns);
  return writeRows(type, from, to, stride * bytesOf[type], rows, columns);
}

/** Addresses of a, b and c for each entry of the batch. */
function entriesOf({ batch = [], strides, types = F32, a, b, c }: MatmulSpec): Record<"a" | "b" | "c", number>[] {
  let entries = [{ a, b, c }];
  for (const [axis, length] of batch.entries()) {
    const step = (name: "a" | "b" | "c"): number => strides![name][axis]! * bytesOf[types[name]];
    entries = entries.flatMap((entry) =>
      Array.from({ length }, (_, i) => ({
        ...{ a: entry.a + i * step("a"), b: entry.b + i * step("b"), c: entry.c + i * step("c") },
      })),
    );
  }
  return entries;
}
