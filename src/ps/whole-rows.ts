// Rows with all their columns, as checkpoints have them: chunks out of a store and into it.
import type { TableChunk, TableSource } from "../checkpoint/index.ts";
import { type Heap, instantiate } from "../memory/index.ts";
import { columnsOf, type PlacedColumn } from "../table/index.ts";
import { scanKernel } from "./kernels.ts";
import type { RowStore } from "./row-store.ts";

const CHUNK_ROWS = 16384;

interface GatherKernel {
  gather(rows: number, n: number, offset: number, width: number, out: number, stride: number): void;
  put(rows: number, n: number, offset: number, width: number, values: number, stride: number): void;
}

export const gatherKernel = (heap: Heap): GatherKernel => instantiate<GatherKernel>("table-rows", heap);

/** Every row of a store, hidden columns included, in the order of memory, then of the disk. Nothing may change meanwhile. */
export function wholeStore(heap: Heap, store: RowStore, name: string): TableSource {
  const columns = columnsOf(store.table.spec, store.table.layout);
  return { name, rows: store.rows, columns, chunks: () => chunks(heap, store, columns) };
}

function* chunks(heap: Heap, store: RowStore, columns: readonly PlacedColumn[]): Generator<TableChunk> {
  const width = columns.reduce((sum, column) => sum + column.width, 0);
  const block = heap.alloc(CHUNK_ROWS * (12 + 4 * width));
  const [keys, rows] = [block, block + 8 * CHUNK_ROWS];
  const kernel = scanKernel(heap);
  try {
    for (const span of store.spans(CHUNK_ROWS)) {
      const [keyAt, keyStep, rowAt, rowStep, places] = span;
      for (let first = 0; first < places; first += CHUNK_ROWS) {
        const count = Math.min(CHUNK_ROWS, places - first);
        const from = [keyAt + first * keyStep, keyStep, rowAt + first * rowStep, rowStep, count] as const;
        const n = kernel.live(...from, keys, rows) >>> 0;
        let out = rows + 4 * CHUNK_ROWS;
        const views = columns.map(({ offset, width }) => {
          gatherKernel(heap).gather(rows, n, offset, width, out, 4 * width);
          out += 4 * width * CHUNK_ROWS;
          return heap.f32(out - 4 * width * CHUNK_ROWS, n * width);
        });
        if (n > 0) yield { rows: n, keys: heap.u64(keys, n), columns: views };
      }
    }
  } finally {
    heap.free(block);
  }
}
