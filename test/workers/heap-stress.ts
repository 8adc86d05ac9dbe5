// A thread of the heap's stress test: allocates, checks, fills and frees blocks, meeting the others at a barrier.
import { parentPort, workerData } from "node:worker_threads";
import { Barrier, Heap } from "../../src/memory/index.ts";

const { memory, control, parties, id, rounds } = workerData as {
  memory: WebAssembly.Memory;
  control: number;
  parties: number;
  id: number;
  rounds: number;
};
const heap = Heap.attach(memory);
const barrier = new Barrier(heap.i32(control, Barrier.words), parties);
const counter = heap.i32(control + 64, 1);
let random = id + 1;
const next = (limit: number): number => {
  random = Math.imul(random, 1664525) + 1013904223;
  return (random >>> 8) % limit;
};
const blocks: { pointer: number; bytes: number }[] = [];
let errors = 0;
const release = (index: number): void => {
  const [block] = blocks.splice(index, 1);
  if (!heap.u8(block!.pointer, block!.bytes).every((byte) => byte === id + 1)) errors++;
  heap.free(block!.pointer);
};
let skew = 0;
for (let round = 0; round < rounds; round++) {
  barrier.wait();
  if (Atomics.load(counter, 0) !== round * parties) skew++;
  barrier.wait();
  Atomics.add(counter, 0, 1);
  for (let i = 0; i < 20; i++) {
    const bytes = 1 + next(2000);
    const pointer = heap.alloc(bytes, 64 << next(4));
    const view = heap.u8(pointer, bytes);
    if (!view.every((byte) => byte === 0)) errors++;
    view.fill(id + 1);
    blocks.push({ pointer, bytes });
    if (blocks.length > 30) release(next(blocks.length));
  }
}
while (blocks.length > 0) release(0);
parentPort!.postMessage({ errors, skew });
