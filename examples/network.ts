// Remote calls: a server with a counter that each call moves once, whatever the network does meanwhile.
import { RpcClient, RpcServer } from "../src/net/index.ts";

let sum = 0;
function add(body: Uint8Array): Uint8Array[] {
  sum += body[0]!;
  return [];
}

const server = await RpcServer.listen({
  address: "tcp://127.0.0.1:0", // beyond this machine: "tls://0.0.0.0:4000", with keys: "keys"
  handlers: {
    // `once`: a call that is repeated, because the connection broke, gets the reply of the first time.
    add: { once: true, handle: add },
  },
});
const client = await RpcClient.connect({
  address: server.address,
  name: "worker 3",
  faults: { disconnect: 0.2 }, // breaks one call in five on purpose
});
for (let i = 1; i <= 10; i++) await client.call("add", [Uint8Array.of(i)], { deadlineMs: 10_000, retries: 20 });
console.log(`1 + 2 + … + 10 = ${sum}`);
await client.close();
await server.close();
