// For tests: workers that add ones to a partition whose process is killed at random moments.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RpcClient } from "../net/index.ts";
import { sgd } from "../optim/index.ts";
import { randomFrom } from "../program/testing.ts";
import { encodePull, encodePush } from "./messages.ts";
import { encodeJson, type PartitionStatistics } from "./requests.ts";
import { definitionOf } from "./spec.ts";
import { TestClient, testModel } from "./testing-partition.ts";

export interface KillOptions {
  readonly protocol: "unix" | "tcp";
  readonly mode: "async" | "sync";
  readonly kills: number;
  /** Between two kills at most so many pushes are acknowledged. */
  readonly between: number;
}

export interface KillResult {
  /** Optimizer steps that the acknowledged pushes make. */
  readonly expected: number;
  readonly steps: number;
  /** Every number of the table and of the dense parameter. */
  readonly rows: readonly number[];
  readonly dense: readonly number[];
  readonly journals: number;
}

const WORKERS = 3;
const keys = BigUint64Array.of(1n, 2n, 3n);

/** Starts a server, lets workers push ones, kills it again and again; returns what is there in the end. */
export async function countUnderKills({ protocol, mode, kills: wanted, between }: KillOptions): Promise<KillResult> {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-ps-kills-"));
  const own = join(folder, "partition");
  const random = randomFrom(wanted);
  const model = testModel({
    ...{ optimizer: sgd({ lr: 1 }), dims: [2], init: "zeros", mode, workers: WORKERS },
    dense: [{ name: "w", length: 4 }],
    storage: { durability: "journal", fsync: false, journalBytes: 3000 },
  });
  let server = await start(own, protocol === "unix" ? `unix://${join(folder, "socket")}` : "tcp://127.0.0.1:0");
  const { address } = server;
  const names = Array.from({ length: WORKERS }, (_, i) => `worker ${i}`);
  const clients = await Promise.all(names.map((name) => RpcClient.connect({ address, name })));
  try {
    await Promise.all(clients.map((client) => client.call("define", encodeJson(model))));
    const definition = definitionOf(model);
    const target = { table: 0, fields: [0], width: 2, wire: "f32" } as const;
    let acknowledged = 0;
    let kills = 0;
    let goal = Number.POSITIVE_INFINITY;
    let reached = (): void => {};
    const work = async (client: RpcClient, worker: number): Promise<number> => {
      for (let step = 0; ; step++) {
        // Workers of mode sync must make the same number of steps.
        if (kills === wanted && (mode === "async" || step % 50 === 0)) return step;
        const values = (length: number): Float32Array => new Float32Array(length).fill(-1);
        const sections = [
          { ...target, keys, values: values(6) },
          { dense: 0, wire: "f32" as const, values: values(4) },
        ];
        const push = encodePush({ definition, worker, step, samples: 1, batches: 1, sections });
        const pull = encodePull({ definition, worker, readOnly: true, sections: [{ ...target, keys }] });
        const [method, parts] =
          step % 3 === 2 ? (["pushPull", [...push, ...pull]] as const) : (["push", push] as const);
        await client.call(method, parts, { retries: 1000 });
        acknowledged++;
        if (acknowledged >= goal) reached();
      }
    };
    const working = Promise.all(clients.map(work));
    while (kills < wanted) {
      goal = acknowledged + 3 + Math.floor(random() * between);
      await new Promise<void>((resolve) => {
        reached = resolve;
      });
      server.child.kill("SIGKILL");
      await once(server.child, "exit");
      kills++;
      server = await start(own, "tcp://127.0.0.1:0");
      if (server.address !== address) throw new Error(`the server is back at ${server.address}, not at ${address}`);
    }
    const pushes = await working;
    const [first] = clients as [RpcClient, ...RpcClient[]];
    const statistics = JSON.parse(Buffer.from(await first.call("statistics")).toString()) as PartitionStatistics;
    const client = new TestClient({ call: (method, parts) => first.call(method, parts) }, model);
    const dense = await first.call("dense", encodeJson({ dense: 0 }));
    return {
      expected: mode === "sync" ? pushes[0]! : pushes.reduce((sum, n) => sum + n, 0),
      steps: statistics.steps,
      rows: (await client.pull([...keys])).flat(),
      dense: [...new Float32Array(new Uint8Array(dense).buffer)],
      journals: readdirSync(own).filter((name) => name.startsWith("journal-")).length,
    };
  } finally {
    await Promise.all(clients.map((client) => client.close()));
    server.child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

async function start(folder: string, address: string): Promise<{ child: ChildProcess; address: string }> {
  const script = fileURLToPath(new URL("./testing-server.ts", import.meta.url));
  const child = fork(script, [folder, address], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const [message] = (await once(child, "message")) as [{ address: string }];
  return { child, ...message };
}
