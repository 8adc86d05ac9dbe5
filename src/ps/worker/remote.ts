// Partitions over the network.
import { type KeysOption, RpcClient } from "../../net/index.ts";
import type { PartitionClient, PsMethod } from "../requests.ts";

export interface RemoteOptions {
  /** Of each partition. */
  readonly addresses: readonly string[];
  readonly keys?: KeysOption | undefined;
  /** What servers call this client in their messages, as "worker 3". */
  readonly name: string;
  /** How long a call may take, all tries together; saving and loading may take longer. */
  readonly deadlineMs: number;
  readonly onDisconnect?: (address: string, error: Error) => void;
  readonly onReconnect?: (address: string) => void;
}

/** How often a call is sent again after its connection broke: a server may come back from disk. */
const RETRIES = 100;
const CONNECT_MS = 60_000;
/** Of what goes through all rows of a partition. */
const LONG_MS = 24 * 3600 * 1000;
const long: ReadonlySet<PsMethod> = new Set(["save", "load"] as const);

export class RemotePartitions {
  readonly clients: readonly PartitionClient[];
  readonly #rpc: readonly RpcClient[];

  private constructor(rpc: readonly RpcClient[], deadlineMs: number) {
    this.#rpc = rpc;
    this.clients = rpc.map((client) => ({
      call: (method, parts, into) =>
        client.call(method, parts, { deadlineMs: long.has(method) ? LONG_MS : deadlineMs, retries: RETRIES, into }),
    }));
  }

  /** @throws ConnectionError when a partition is not there */
  static async connect(options: RemoteOptions): Promise<RemotePartitions> {
    const { addresses, keys, name, deadlineMs, onDisconnect, onReconnect } = options;
    const results = await Promise.allSettled(
      addresses.map((address) =>
        RpcClient.connect({
          ...{ address, name, connectMs: CONNECT_MS, keepAlive: false },
          ...(keys === undefined ? {} : { keys }),
          ...(onDisconnect && { onDisconnect: (error) => onDisconnect(address, error) }),
          ...(onReconnect && { onReconnect: () => onReconnect(address) }),
        }),
      ),
    );
    const made = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) {
      for (const client of made) await client.close();
      throw failed.reason;
    }
    return new RemotePartitions(made, deadlineMs);
  }

  async close(): Promise<void> {
    await Promise.all(this.#rpc.map((client) => client.close()));
  }
}
