// What an accessor does to all rows of a table: the daily decay that drops rows, days that pass, and the keys that a save
// is to hold.
import type { Heap } from "../memory/index.ts";
import { batchKernel, scanKernel } from "./kernels.ts";
import type { SaveMode } from "./requests.ts";
import type { RowStore } from "./row-store.ts";
import type { Scratch } from "./scratch.ts";
import type { TablePart } from "./table-part.ts";

/** Decays and drops rows; the fields that features had earned go with them. Returns how many. */
export function shrink(heap: Heap, scratch: Scratch, table: TablePart): number {
  const { accessor, primary } = table;
  if (accessor === undefined || primary === undefined) return 0;
  const kernel = scanKernel(heap);
  const { decay, nonClick, click, dropScore, dropUnseen } = accessor;
  let dropped = 0;
  primary.visit((span, out) => {
    const n = kernel.decay(...span, primary.statistics, decay, nonClick, click, dropScore, dropUnseen, out) >>> 0;
    dropped += n;
    return n;
  }, true);
  for (const store of table.stores) if (store !== primary) dropOrphans(heap, scratch, store, primary);
  primary.spillUnseen(accessor.spillUnseen);
  scratch.reset();
  return dropped;
}

/** All rows are one day older. */
export function passDay(heap: Heap, { primary, accessor }: TablePart): void {
  if (primary === undefined || accessor === undefined) return;
  const kernel = scanKernel(heap);
  primary.visit((span) => {
    kernel.age(...span, primary.statistics);
    return undefined;
  }, true);
}

/**
 * The keys that a save of a mode holds, in ascending order: a block of the heap, to be freed by the caller.
 * @param seen also keys that have statistics alone
 */
export function savedKeys(
  heap: Heap,
  scratch: Scratch,
  table: TablePart,
  options: { readonly mode: SaveMode; readonly seen: boolean },
): { keys: number; n: number } {
  const { accessor, primary } = table;
  const kernel = scanKernel(heap);
  const sources = primary === undefined ? table.stores : [primary];
  const keys = heap.alloc(8 * sources.reduce((sum, store) => sum + store.rows, 0));
  let n = 0;
  const { mode, seen } = options;
  const filtered = accessor !== undefined && (mode === "delta" || mode === "base");
  for (const store of sources) {
    store.visit(
      (span, out) => {
        let found: number;
        if (filtered) {
          const { nonClick, click, saveScore, deltaScore, keepUnseen } = accessor;
          const least = mode === "delta" ? deltaScore : 0;
          const clear = mode === "delta" ? 1 : 0;
          const limits = [nonClick, click, saveScore, least, keepUnseen, clear] as const;
          found = kernel.select(...span, store.statistics, ...limits, out) >>> 0;
        } else found = kernel.collect(span[0], span[1], span[4], out) >>> 0;
        heap.u64(keys + 8 * n, found).set(heap.u64(out, found));
        n += found;
        return undefined;
      },
      filtered && mode === "delta",
    );
  }
  if (mode === "daily") passDay(heap, table);
  const view = heap.u64(keys, n).sort();
  if (sources.length > 1) n = distinct(view);
  const always = table.groups.some(({ store }) => store === primary);
  if (!always && !seen) n = withWeights(heap, scratch, table, keys, n);
  scratch.reset();
  return { keys, n };
}

const BLOCK = 4096;

/** Keeps the keys that have a row in any group. */
function withWeights(heap: Heap, scratch: Scratch, table: TablePart, keys: number, n: number): number {
  let kept = 0;
  for (let first = 0; first < n; first += BLOCK) {
    const count = Math.min(BLOCK, n - first);
    const view = heap.u64(keys + 8 * first, count).slice();
    const has = new Uint8Array(count);
    for (const { store } of table.groups) {
      const mark = scratch.mark();
      const rows = scratch.take(4 * count);
      store.peek(keys + 8 * first, count, rows);
      for (const [i, row] of heap.u32(rows, count).entries()) if (row !== store.table.zeroRow) has[i] = 1;
      scratch.release(mark);
    }
    const own = view.filter((_, i) => has[i] === 1);
    heap.u64(keys + 8 * kept, own.length).set(own);
    kept += own.length;
  }
  return kept;
}

function distinct(sorted: BigUint64Array): number {
  let n = 0;
  for (const key of sorted) if (n === 0 || sorted[n - 1] !== key) sorted[n++] = key;
  return n;
}

/** Removes the rows whose keys have no statistics any more. */
function dropOrphans(heap: Heap, scratch: Scratch, store: RowStore, primary: RowStore): void {
  store.visit(([keys, keyStep, , , places], out) => {
    const mark = scratch.mark();
    const own = scratch.take(8 * places);
    const rows = scratch.take(4 * places);
    const found = scratch.take(8 * places);
    scanKernel(heap).keysAt(keys, keyStep, places, own);
    primary.peek(own, places, rows);
    const n = batchKernel(heap).missing(rows, own, places, primary.table.zeroRow, out, found) >>> 0;
    scratch.release(mark);
    return n;
  }, false);
}
