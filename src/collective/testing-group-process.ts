// For tests: a rank of a group in a process that goes on for ever, to be killed.
import { Heap } from "../memory/index.ts";
import { Group } from "./group.ts";
import type { TransportSpec } from "./open-transport.ts";

const { rank, size, transport } = JSON.parse(process.argv[2]!) as {
  rank: number;
  size: number;
  transport: TransportSpec;
};
const heap = Heap.create({ maxBytes: 2 ** 26 });
const group = await Group.open({ rank, size, heap, transport });
const address = heap.alloc(4 * 1000);
for (let step = 0; ; step++) {
  await group.done(group.allReduce(address, 1000, { name: `step ${step}` }));
  if (step === 20) process.send!("twenty steps");
}
