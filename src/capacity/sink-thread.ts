// For the measurement of the network: a thread that takes bodies and answers with nothing.
import { parentPort, workerData } from "node:worker_threads";
import { RpcServer } from "../net/index.ts";

const { address, keys } = workerData as { readonly address: string; readonly keys?: string };
const server = await RpcServer.listen({ address, ...(keys !== undefined && { keys }), handlers: { sink: () => [] } });
parentPort!.once("message", () => void server.close().then(() => parentPort!.close()));
parentPort!.postMessage(server.address);
