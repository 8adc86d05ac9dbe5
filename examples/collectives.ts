// An all-reduce among ranks: two ranks of one process here, each with its communication thread. On processes and machines
// `joinGroup` opens the same group by the job's coordinator.
import { createThreadGroup, Group } from "../src/collective/index.ts";
import { Heap } from "../src/memory/index.ts";

const heap = Heap.create({ maxBytes: 2 ** 28 });
const threads = createThreadGroup(heap, 2);
const count = 1_000_000;

async function rankOf(rank: number): Promise<string> {
  const address = heap.alloc(4 * count);
  heap.f32(address, count).fill(rank + 1);
  const group = await Group.open({ rank, size: 2, heap, transport: { kind: "threads", group: threads } });
  const bucket = group.prepare({ collective: "all-reduce", name: "bucket 0", address, count, op: "mean" });
  const ticket = bucket.start(); // returns at once: the communication thread does it
  await group.done(ticket); // `group.wait(ticket)` blocks the thread instead
  await group.close();
  return `rank ${rank}: ${heap.f32(address, count)[count - 1]}`;
}

console.log((await Promise.all([rankOf(0), rankOf(1)])).join("\n"));
