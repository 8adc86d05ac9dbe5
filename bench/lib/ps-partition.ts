// One partition thread: rows pulled and pushed a second, called in the same process and over a unix socket from another
// thread; with a journal, too.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Heap } from "../../src/memory/index.ts";
import { RpcClient } from "../../src/net/index.ts";
import { adagrad, updateRule } from "../../src/optim/index.ts";
import { joinParts } from "../../src/ps/body.ts";
import {
  definitionOf,
  encodeJson,
  encodePull,
  encodePush,
  parseModel,
  pullReplyOffsets,
  type ServedModelOptions,
  type WireType,
} from "../../src/ps/index.ts";
import { Partition } from "../../src/ps/partition.ts";
import { startThread } from "../../src/ps/server.ts";
import { atLeast, type BenchGoal, type BenchResult, type BenchRow, say } from "./report.ts";

const ROWS = 10_000;
const DIM = 16;
/** Distinct batches, so that rows are not all in the cache. */
const BATCHES = 50;
/** Calls under way at once over a socket. */
const DEPTH = 4;
const SLICES = 5;
const GOAL = 3e6;

type Durability = "none" | "journal";

const optimizer = adagrad({ lr: 0.05 });

function modelOf(wire: WireType, durability: Durability): ServedModelOptions {
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
  readonly replyBytes: number;

  constructor(wire: WireType, durability: Durability = "none") {
    const model = parseModel(modelOf(wire, durability));
    const definition = definitionOf(model);
    this.define = encodeJson(model);
    const target = { table: 0, fields: [0], width: DIM, wire };
    this.replyBytes = pullReplyOffsets([{ ...target, keys: new BigUint64Array(ROWS) }]).bytes;
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

/** Runs calls with `depth` in flight for a while; returns rows a second, of the best slice of the time. */
async function rate(
  seconds: number,
  depth: number,
  call: (batch: number, lane: number) => Promise<unknown>,
): Promise<number> {
  for (let batch = 0; batch < BATCHES; batch++) await call(batch, 0);
  let best = 0;
  for (let slice = 0; slice < SLICES; slice++) {
    const start = performance.now();
    const end = start + (1000 * seconds) / SLICES;
    let calls = 0;
    const run = async (lane: number): Promise<void> => {
      do await call(calls++ % BATCHES, lane);
      while (performance.now() < end);
    };
    await Promise.all(Array.from({ length: depth }, (_, lane) => run(lane)));
    best = Math.max(best, (1000 * calls * ROWS) / (performance.now() - start));
  }
  return best;
}

interface Rates {
  readonly push: number;
  readonly pull: number;
}

async function inProcess(wire: WireType, seconds: number): Promise<Rates> {
  const bodies = new Bodies(wire);
  const partition = new Partition(Heap.create({ maxBytes: 2 ** 30 }), { partition: 0 });
  const reply = new Uint8Array(new SharedArrayBuffer(bodies.replyBytes));
  const caller = { client: 1n, sequence: 1, memory: () => reply };
  partition.call("define", joinParts(bodies.define), caller);
  const [pulls, pushes] = [bodies.pulls.map(joinParts), bodies.pushes.map(joinParts)];
  const push = await rate(seconds, 1, async (i) => partition.call("push", pushes[i]!, caller));
  const pull = await rate(seconds, 1, async (i) => partition.call("pull", pulls[i]!, caller));
  partition.dispose();
  return { push, pull };
}

async function overSocket(wire: WireType, durability: Durability, seconds: number): Promise<Rates> {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-bench-ps-"));
  const thread = await startThread({ partition: 0, address: `unix://${join(folder, "socket")}`, folder });
  const client = await RpcClient.connect({ address: thread.address });
  try {
    const bodies = new Bodies(wire, durability);
    await client.call("define", bodies.define);
    const memory = Array.from({ length: DEPTH }, () => new Uint8Array(bodies.replyBytes));
    const push = await rate(seconds, DEPTH, (i) => client.call("push", bodies.pushes[i]!));
    const pull = await rate(seconds, DEPTH, (i, lane) => client.call("pull", bodies.pulls[i]!, { into: memory[lane] }));
    return { push, pull };
  } finally {
    await client.close();
    await thread.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function psPartition(seconds: number): Promise<BenchResult> {
  const rows: BenchRow[] = [];
  const goals: BenchGoal[] = [];
  const add = (system: string, rates: Rates, goal: boolean): void => {
    for (const [metric, value] of Object.entries(rates)) {
      rows.push({ system, metric, value: value / 1e6, unit: "M rows/s" });
      if (goal) goals.push(atLeast(`${system}, ${metric}, rows/s`, value, GOAL));
    }
    say(`${system}: push ${(rates.push / 1e6).toFixed(2)}, pull ${(rates.pull / 1e6).toFixed(2)} M rows/s`);
  };
  for (const wire of ["f32", "f16"] as const) add(`in process, ${wire}`, await inProcess(wire, seconds), true);
  for (const wire of ["f32", "f16"] as const) {
    add(`unix socket, ${wire}`, await overSocket(wire, "none", seconds), true);
  }
  add("unix socket, f32, journal", await overSocket("f32", "journal", seconds), false);
  return { rows, goals };
}
