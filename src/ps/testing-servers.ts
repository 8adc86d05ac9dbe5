// For tests: servers of partitions in this process, behind real sockets.
import { Heap } from "../memory/index.ts";
import { RpcServer } from "../net/index.ts";
import { Partition } from "./partition.ts";

export interface TestServers extends AsyncDisposable {
  /** Of each partition. */
  readonly addresses: readonly string[];
  readonly partitions: readonly Partition[];
}

export async function testServers(count: number): Promise<TestServers> {
  const partitions = Array.from(
    { length: count },
    (_, partition) => new Partition(Heap.create({ maxBytes: 2 ** 29 }), { partition }),
  );
  const servers = await Promise.all(
    partitions.map((partition) => RpcServer.listen({ address: "tcp://127.0.0.1:0", handlers: partition.handlers() })),
  );
  return {
    addresses: servers.map(({ address }) => address),
    partitions,
    async [Symbol.asyncDispose]() {
      for (const server of servers) await server.close();
      for (const partition of partitions) partition.dispose();
    },
  };
}
