// A partition of the parameter server: rows pulled and pushed a second by its handler alone, and over a unix socket from
// another thread; with spill and with a journal.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Heap } from "../src/memory/index.ts";
import { RpcClient } from "../src/net/index.ts";
import { adagrad, updateRule } from "../src/optim/index.ts";
import { joinParts } from "../src/ps/body.ts";
import {
  definitionOf,
  encodeJson,
  encodePull,
  encodePush,
  type PartitionClient,
  parseModel,
  type ServedModelOptions,
  type WireType,
} from "../src/ps/index.ts";
import { Partition } from "../src/ps/partition.ts";
import { startThread } from "../src/ps/server.ts";
import { psTraining } from "./lib/ps-training.ts";
import { atLeast, type BenchOptions, type BenchResult, type BenchRow } from "./lib/report.ts";

const ROWS = 10_000;
const DIM = 16;
/** Distinct batches, so that rows are not all in the cache. */
const BATCHES = 50;
const GOAL = 3e6;

const optimizer = adagrad({ lr: 0.05 });

function modelOf(wire: WireType, durability: "none" | "journal"): ServedModelOptions {
  const init = { kind: "uniform", scale: 0.01 } as const;
  const fields = [{ name: "embedding", dim: DIM, slots: [...updateRule(optimizer, "ps").slots], init }];
  const tables = [{ spec: { name: "ids", seed: 1, fields }, rules: { embedding: { optimizer } }, wire }];
  return { mode: "async", workers: 1, partitions: 1, tables, storage: { durability } };
}

/** Bodies for batches of keys that overlap in part, as popular features do. */
class Bodies {
  readonly pulls: Uint8Array[][] = [];
  readonly pushes: Uint8Array[][] = [];
  readonly define: Uint8Array[];

  constructor(wire: WireType, durability: "none" | "journal" = "none") {
    const model = parseModel(modelOf(wire, durability));
    const definition = definitionOf(model);
    this.define = encodeJson(model);
    const target = { table: 0, fields: [0], width: DIM, wire };
    for (let batch = 0; batch < BATCHES; batch++) {
      const keys = BigUint64Array.from({ length: ROWS }, (_, i) => {
        const id = i % 4 === 0 ? i : batch * ROWS + i;
        return BigInt.asUintN(64, BigInt(id + 1) * 0x9e3779b97f4a7c15n);
      });
      const numbers = Float32Array.from({ length: ROWS * DIM }, (_, i) => Math.sin(i));
      const values = wire === "f16" ? Float16Array.from(numbers) : numbers;
      const sections = [{ ...target, keys, values }];
      this.pulls.push(encodePull({ definition, worker: 0, readOnly: false, sections: [{ ...target, keys }] }));
      this.pushes.push(encodePush({ definition, worker: 0, step: 0, samples: 1, batches: 1, sections }));
    }
  }
}

/** Runs calls with `depth` in flight for a while; returns rows a second. */
async function rate(seconds: number, depth: number, call: (batch: number) => Promise<unknown>): Promise<number> {
  for (let batch = 0; batch < BATCHES; batch++) await call(batch);
  let best = 0;
  for (let slice = 0; slice < 5; slice++) {
    const start = performance.now();
    const end = start + (1000 * seconds) / 5;
    let calls = 0;
    const lane = async (): Promise<void> => {
      do await call(calls++ % BATCHES);
      while (performance.now() < end);
    };
    await Promise.all(Array.from({ length: depth }, lane));
    best = Math.max(best, (1000 * calls * ROWS) / (performance.now() - start));
  }
  return best;
}

export async function run(options: BenchOptions & { readonly seconds?: number } = {}): Promise<BenchResult> {
  const seconds = options.seconds ?? 2;
  const rows: BenchRow[] = [];
  const add = (system: string, metric: string, value: number): number => {
    rows.push({ system, metric, value: value / 1e6, unit: "M rows/s" });
    return value;
  };
  const goals: [string, number][] = [];
  for (const wire of ["f32", "f16"] as const) {
    const bodies = new Bodies(wire);
    const partition = new Partition(Heap.create({ maxBytes: 2 ** 30 }), { partition: 0 });
    const caller = { client: 1n, sequence: 1 };
    partition.call("define", joinParts(bodies.define), caller);
    const pulls = bodies.pulls.map(joinParts);
    const pushes = bodies.pushes.map(joinParts);
    const pushed = add(
      `handler, ${wire}`,
      "push",
      await rate(seconds, 1, async (i) => partition.call("push", pushes[i]!, caller)),
    );
    const pulled = add(
      `handler, ${wire}`,
      "pull",
      await rate(seconds, 1, async (i) => partition.call("pull", pulls[i]!, caller)),
    );
    goals.push([`${wire} pushed by the handler`, pushed], [`${wire} pulled by the handler`, pulled]);
    partition.dispose();
  }
  for (const wire of ["f32", "f16"] as const) {
    for (const durability of wire === "f32" ? (["none", "journal"] as const) : (["none"] as const)) {
      await overSocket(wire, durability, async (client, bodies) => {
        const system = `unix socket, ${wire}${durability === "journal" ? ", journal" : ""}`;
        await client.call("define", bodies.define);
        const pushed = add(system, "push", await rate(seconds, 4, (i) => client.call("push", bodies.pushes[i]!)));
        const pulled = add(system, "pull", await rate(seconds, 4, (i) => client.call("pull", bodies.pulls[i]!)));
        if (durability === "none")
          goals.push([`${wire} pushed over a socket`, pushed], [`${wire} pulled over a socket`, pulled]);
      });
    }
  }
  const training = await psTraining(options.quick === true);
  return {
    rows: [...rows, ...training.rows],
    goals: [...goals.map(([name, value]) => atLeast(`${name}, rows/s`, value, GOAL)), ...training.goals],
  };
}

async function overSocket(
  wire: WireType,
  durability: "none" | "journal",
  work: (client: PartitionClient, bodies: Bodies) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-bench-ps-"));
  const thread = await startThread({ partition: 0, address: `unix://${join(folder, "socket")}`, folder });
  const rpc = await RpcClient.connect({ address: thread.address });
  try {
    await work({ call: (method, parts) => rpc.call(method, [...parts]) }, new Bodies(wire, durability));
  } finally {
    await rpc.close();
    await thread.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
