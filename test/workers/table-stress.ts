// A thread of the table's stress test: inserts overlapping keys in its own order and reports the rows that it was given.
import { parentPort, workerData } from "node:worker_threads";
import { Barrier, Heap } from "../../src/memory/index.ts";
import { Table, type TableHandle } from "../../src/table/index.ts";

const { memory, control, handle, id, parties, keys, batch } = workerData as {
  memory: WebAssembly.Memory;
  control: number;
  handle: TableHandle;
  id: number;
  parties: number;
  keys: BigUint64Array;
  batch: number;
};
const heap = Heap.attach(memory);
const table = Table.attach(heap, handle);
const keysPointer = heap.alloc(8 * batch);
const rowsPointer = heap.alloc(4 * batch);
const found = new Uint32Array(keys.length);
let lost = 0;
new Barrier(heap.i32(control, Barrier.words), parties).wait();
for (let start = 0; start < keys.length; start += batch) {
  const n = Math.min(batch, keys.length - start);
  const rows = heap.u32(rowsPointer, n);
  heap.u64(keysPointer, n).set(keys.subarray(start, start + n));
  table.lookup(keysPointer, n, rowsPointer, true);
  found.set(rows, start);
  // What one was given stays readable, whatever grows meanwhile; what nobody inserts stays absent.
  table.lookup(keysPointer, n, rowsPointer, false);
  for (let i = 0; i < n; i++) if (rows[i] !== found[start + i]) lost++;
  heap.u64(keysPointer, 1)[0] = 2n ** 63n + BigInt(start + id);
  table.lookup(keysPointer, 1, rowsPointer, false);
  if (rows[0] !== table.zeroRow) lost++;
}
table.detach();
heap.free(keysPointer);
heap.free(rowsPointer);
parentPort!.postMessage({ found, lost });
