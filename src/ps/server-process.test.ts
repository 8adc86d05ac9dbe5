// Server processes of a job: they tell the coordinator where their partitions are, serve, and end when they are told to.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, expect, test } from "vitest";
import { Coordinator, environmentOf, Member, type World } from "../cluster/index.ts";
import { RpcClient } from "../net/index.ts";
import { sgd } from "../optim/index.ts";
import { TestClient, testModel } from "./testing-partition.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-ps-server-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

function serve(world: World): { child: ChildProcess; output: () => string } {
  const script = fileURLToPath(new URL("../../bin/flotilla.js", import.meta.url));
  const env = { ...process.env, ...environmentOf(world), FLOTILLA_SERVER_FOLDER: join(folder, "files") };
  const child = spawn(process.execPath, [script, "serve-partitions"], { env, stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  let output = "";
  for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (text) => (output += String(text)));
  return { child, output: () => output };
}

test("two servers of two partitions: known by rank, killed and back where they were, ended with nothing left", async () => {
  const job = "servers";
  const coordinator = await Coordinator.start({ workers: 2, servers: 2, address: "tcp://127.0.0.1:0" });
  const common = {
    job,
    workers: 2,
    servers: 2,
    coordinator: coordinator.address,
    folder: join(folder, "sockets"),
    threads: 2,
  };
  mkdirSync(common.folder);
  const worker = await Member.connect({ ...common, role: "worker", rank: 0, attempt: 0 });
  const other = await Member.connect({ ...common, role: "worker", rank: 1, attempt: 0 });
  await Promise.all([worker.join(), other.join()]);
  const world = (rank: number, attempt: number): World => ({ ...common, role: "server", rank, attempt });
  const servers = [serve(world(0, 0)), serve(world(1, 0))];
  const members = await worker.members("server", 2);
  const addresses = members.flatMap(({ addresses }) => addresses);
  expect(addresses).toHaveLength(4);

  const model = testModel({
    optimizer: sgd({ lr: 1 }),
    dims: [1],
    init: "zeros",
    mode: "sync",
    workers: 2,
    partitions: 4,
  });
  const rpc = await Promise.all(addresses.map((address) => RpcClient.connect({ address })));
  const clients = rpc.map(
    (each) => new TestClient({ call: (method, parts) => each.call(method, parts, { retries: 100 }) }, model),
  );
  for (const client of clients) await client.define();
  const together = (client: TestClient, value: number, step: number): Promise<number[]> =>
    Promise.all([0, 1].map((worker) => client.push(new Map([[1n, [value]]]), { worker, step })));
  for (const client of clients) expect(await together(client, -5, 0)).toEqual([1, 1]);

  servers[1]!.child.kill("SIGKILL");
  const waiting = clients[3]!.pull([1n]);
  await once(servers[1]!.child, "exit");
  const again = serve(world(1, 1));
  expect(await waiting).toEqual([[5]]);
  expect(await together(clients[2]!, -1, 1)).toEqual([2, 2]);
  expect(again.output()).toContain("partition 3 is back at step 1: 1 changes from its journal");
  const back = (await worker.members("server", 2)).flatMap(({ addresses }) => addresses);
  expect(back).toEqual(addresses);

  // A worker that is gone is waited for no longer.
  const released = clients[0]!.push(new Map([[1n, [-1]]]), { step: 1 });
  await other.leave();
  expect(await released).toBe(2);
  for (const client of rpc) await client.close();
  for (const { child, output } of [servers[0]!, again]) {
    child.kill("SIGTERM");
    const [code] = child.exitCode === null ? await once(child, "exit") : [child.exitCode];
    expect(code, output()).toBe(0);
  }
  expect(existsSync(join(folder, "files")) ? readdirSync(join(folder, "files")) : []).toEqual([]);
  await worker.leave();
  await coordinator.close();
});
