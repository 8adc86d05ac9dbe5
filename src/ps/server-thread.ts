// The thread that owns a partition: its heap, its socket, its files.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { Heap } from "../memory/index.ts";
import { RpcServer } from "../net/index.ts";
import { DurablePartition } from "./durable.ts";
import { Partition } from "./partition.ts";
import type { ThreadMessage, ThreadOptions, ThreadRequest } from "./server.ts";

/** Where the partition listened: clients look for it there again after a restart. */
const ADDRESS = "address";

const say = (message: ThreadMessage): void => parentPort!.postMessage(message);

async function serve(options: ThreadOptions): Promise<void> {
  const { partition: index, folder, keys } = options;
  await mkdir(folder, { recursive: true });
  const partition = new Partition(Heap.create(options.heapBytes === undefined ? {} : { maxBytes: options.heapBytes }), {
    partition: index,
    spillFolder: folder,
  });
  const onFailure = (error: Error): void => say({ type: "failed", message: error.message });
  const { durable, restored } = await DurablePartition.open(partition, { folder, onFailure });
  const listen = (address: string): Promise<RpcServer> =>
    RpcServer.listen({
      address,
      ...(keys !== undefined && { keys }),
      handlers: partition.handlers(),
      applied: durable.applied,
      onError: (error) => say({ type: "note", message: error.message }),
    });
  const before = await readFile(join(folder, ADDRESS), "utf8").catch(() => undefined);
  const server =
    before === undefined ? await listen(options.address) : await listen(before).catch(() => listen(options.address));
  await writeFile(join(folder, ADDRESS), server.address);
  parentPort!.on("message", (request: ThreadRequest) => {
    if (request.type === "workers") partition.setWorkers(request.ranks);
    else if (request.type === "statistics") say({ type: "statistics", statistics: partition.statistics() });
    else {
      server
        .close()
        .then(() => durable.close())
        .then(() => {
          partition.dispose();
          parentPort!.close();
        });
    }
  });
  say({ type: "ready", address: server.address, ...(restored && { restored }) });
}

await serve(workerData as ThreadOptions);
