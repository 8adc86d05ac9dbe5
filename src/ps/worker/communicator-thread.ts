// The thread of a communicator: connections to the partitions, and requests of the main thread.
import { parentPort, workerData } from "node:worker_threads";
import { Heap } from "../../memory/index.ts";
import { Communicator } from "./communicator.ts";
import type { CommunicatorData, CommunicatorMessage, CommunicatorReply, CommunicatorRequest } from "./protocol.ts";
import { RemotePartitions } from "./remote.ts";

const data = workerData as CommunicatorData;
const { addresses, keys, worker, deadlineMs } = data;
const connect = (name: string): Promise<RemotePartitions> =>
  RemotePartitions.connect({ addresses, keys, deadlineMs, name: `worker ${worker}${name}` });

/** Where nobody waits, rows that are pulled ahead have connections of their own: pushes and dense weights are long. */
async function open(): Promise<{ readonly remotes: readonly RemotePartitions[]; readonly communicator: Communicator }> {
  const remote = await connect("");
  const ahead = data.model.mode === "async" ? await connect(", ahead") : remote;
  const communicator = new Communicator(data, Heap.attach(data.memory), remote.clients, ahead.clients);
  return { remotes: [...new Set([remote, ahead])], communicator };
}

const opening = open();
// Told to whoever asks first.
opening.catch(() => undefined);

async function handle(request: CommunicatorRequest): Promise<void> {
  const { communicator, remotes } = await opening;
  switch (request.type) {
    case "train":
    case "score":
      return communicator.run(request);
    case "finish":
      return communicator.finish();
    case "stop":
      return communicator.stop(request.reason);
    case "pullDense":
      return communicator.pullDense();
    case "close":
      for (const remote of remotes) await remote.close();
      return;
    default:
      return request satisfies never;
  }
}

parentPort!.on("message", async ({ id, request }: CommunicatorMessage) => {
  let reply: CommunicatorReply = { id };
  try {
    await handle(request);
  } catch (error) {
    const { message, stack } = error as Error;
    reply = { id, error: { message: `parameter server: ${message}`, ...(stack === undefined ? {} : { stack }) } };
  }
  parentPort!.postMessage(reply);
});
