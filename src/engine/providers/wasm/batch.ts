// Products of batches, strided operands and half-precision types, on top of a dense f32 product: each entry's operands are
// brought to dense f32 matrices in scratch memory where they are none, and its result back.
import { type Heap, instantiate } from "../../../memory/index.ts";
import { bytesOf, type FloatType } from "../../plan.ts";
import type { MatmulShape, MatmulSpec } from "../../provider.ts";
import { converter, copyBytes, padded, runAll, ScratchBlock } from "./half.ts";

type MoveRows = (to: number, toStride: number, from: number, fromStride: number, rows: number, bytes: number) => void;

/** A matrix [rows, columns] as it lies in memory: dense or with rows apart. */
interface Layout {
  readonly rows: number;
  readonly columns: number;
  /** Elements from row to row. */
  readonly stride: number;
  /** What is wanted is the transpose. */
  readonly transposed: boolean;
  readonly type: FloatType;
}

/** The dense f32 product that a plain provider binds. */
export interface DenseProduct {
  scratchBytes(shape: MatmulShape): number;
  bind(spec: MatmulSpec): () => void;
}

export const isPlain = ({ batch = [], strides, types }: MatmulShape): boolean =>
  batch.length === 0 &&
  strides === undefined &&
  (types === undefined || Object.values(types).every((t) => t === "f32"));

function layoutsOf(shape: MatmulShape): { a: Layout; b: Layout; c: Layout } {
  const { m, n, k, transposeA, transposeB, strides, types = { a: "f32", b: "f32", c: "f32" } } = shape;
  const of = (
    rows: number,
    columns: number,
    transposed: boolean,
    list: readonly number[] | undefined,
    type: FloatType,
  ) => {
    if (list === undefined) {
      return transposed
        ? { rows: columns, columns: rows, stride: rows, transposed, type }
        : { rows, columns, stride: columns, transposed, type };
    }
    const [row, column] = list.slice(-2) as [number, number];
    if (column === 1 || columns === 1) return { rows, columns, stride: row, transposed: false, type };
    return { rows: columns, columns: rows, stride: column, transposed: true, type };
  };
  return {
    a: of(m, k, transposeA, strides?.a, types.a),
    b: of(k, n, transposeB, strides?.b, types.b),
    c: of(m, n, false, strides?.c, types.c),
  };
}

const isDense = ({ rows, columns, stride }: Layout): boolean => stride === columns || rows === 1;

/** Scratch of an operand that is not dense f32: the rows together, and their f32 copy. */
const operandBytes = (layout: Layout): number => {
  const n = layout.rows * layout.columns;
  return (isDense(layout) ? 0 : padded(n * bytesOf[layout.type])) + copyBytes(layout.type, n);
};

/** The dense f32 product of one entry; a result that lies by columns is the product of the transposes. */
function entryShape(shape: MatmulShape, { a, b, c }: ReturnType<typeof layoutsOf>): MatmulShape {
  const { m, n, k, bias, activation, accumulate } = shape;
  const rest = {
    ...(bias === undefined ? {} : { bias }),
    ...(activation === undefined ? {} : { activation }),
    ...(accumulate === undefined ? {} : { accumulate }),
  };
  if (c.transposed) return { m: n, n: m, k, transposeA: !b.transposed, transposeB: !a.transposed, ...rest };
  return { m, n, k, transposeA: a.transposed, transposeB: b.transposed, ...rest };
}

export function batchScratchBytes(shape: MatmulShape, dense: DenseProduct): number {
  const layouts = layoutsOf(shape);
  const own = padded(dense.scratchBytes(entryShape(shape, layouts)));
  return own + operandBytes(layouts.a) + operandBytes(layouts.b) + operandBytes(layouts.c);
}

export function bindBatch(heap: Heap, spec: MatmulSpec, dense: DenseProduct): () => void {
  const layouts = layoutsOf(spec);
  const { moveRows } = instantiate<{ moveRows: MoveRows }>("conv", heap);
  const { read, write } = converter(heap);
  const block = new ScratchBlock(spec.scratch);
  const shape = entryShape(spec, layouts);
  const scratchBytes = dense.scratchBytes(shape);
  const scratch = block.take(scratchBytes);
  /** Where an operand's rows are gathered, and its f32 copy; 0 where it needs none. */
  const places = [layouts.a, layouts.b, layouts.c].map((layout) => ({
    rows: isDense(layout) ? 0 : block.take(layout.rows * layout.columns * bytesOf[layout.type]),
    numbers: layout.type === "f32" ? 0 : block.take(copyBytes(layout.type, layout.rows * layout.columns)),
  }));
  const calls: (() => void)[] = [];
  const bring = (layout: Layout, place: (typeof places)[0], address: number): number => {
    const size = bytesOf[layout.type];
    const { rows, columns, stride, type } = layout;
    let at = address;
    if (place.rows !== 0) {
      calls.push(() => moveRows(place.rows, columns * size, address, stride * size, rows, columns * size));
      at = place.rows;
    }
    if (place.numbers === 0) return at;
    calls.push(read(type, at, place.numbers, rows * columns));
    return place.numbers;
  };
  const [placeA, placeB, placeC] = places as [(typeof places)[0], (typeof places)[0], (typeof places)[0]];
  for (const [a, b, c] of entries(spec)) {
    const x = bring(layouts.a, placeA, a);
    const y = bring(layouts.b, placeB, b);
    const z = spec.accumulate ? bring(layouts.c, placeC, c) : placeC.numbers || placeC.rows || c;
    const { rows, columns, stride, type, transposed } = layouts.c;
    const [left, right] = transposed ? [y, x] : [x, y];
    calls.push(dense.bind({ ...shape, a: left, b: right, c: z, scratch, scratchBytes }));
    const size = bytesOf[type];
    const rowsAt = placeC.rows || c;
    if (placeC.numbers !== 0) calls.push(write(type, placeC.numbers, rowsAt, rows * columns));
    if (placeC.rows !== 0) {
      calls.push(() => moveRows(c, stride * size, placeC.rows, columns * size, rows, columns * size));
    }
  }
  return runAll(calls);
}

/** Addresses of a, b and c for each entry of the batch. */
function entries({ batch = [], strides, types, a, b, c }: MatmulSpec): [number, number, number][] {
  const list: [number, number, number][] = [];
  const sizes = [types?.a, types?.b, types?.c].map((type) => bytesOf[type ?? "f32"]) as [number, number, number];
  const walk = (axis: number, x: number, y: number, z: number): void => {
    if (axis === batch.length) {
      list.push([x, y, z]);
      return;
    }
    for (let i = 0; i < batch[axis]!; i++) {
      walk(
        axis + 1,
        x + i * strides!.a[axis]! * sizes[0],
        y + i * strides!.b[axis]! * sizes[1],
        z + i * strides!.c[axis]! * sizes[2],
      );
    }
  };
  walk(0, a, b, c);
  return list;
}
