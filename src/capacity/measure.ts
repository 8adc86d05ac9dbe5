// Measures the constants of a plan on this machine in a few seconds, with the real parts: a partition's handler, remote
// calls between threads, training steps of a DeepFM, ids of generated clicks. What counts is the time of the processor, so
// that others who use the machine disturb little.
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { criteo, generateCriteo } from "../data/index.ts";
import { init } from "../fleet/index.ts";
import { Heap, moduleUrl } from "../memory/index.ts";
import { deepFM } from "../models/index.ts";
import { makeKeys, RpcClient } from "../net/index.ts";
import { adagrad, updateRule } from "../optim/index.ts";
import { definitionOf, encodeJson, encodePull, encodePush, joinParts, Partition, parseModel } from "../ps/index.ts";
import type { Constants } from "./constants.ts";

export interface MeasureOptions {
  /** For each measurement. */
  readonly seconds?: number;
  readonly onStep?: (what: string) => void;
}

export async function measureConstants(options: MeasureOptions = {}): Promise<Constants> {
  const { seconds = 0.5, onStep = () => {} } = options;
  const folder = mkdtempSync(join(tmpdir(), "flotilla-capacity-"));
  try {
    onStep("rows of a partition");
    const { pull, push } = measureRows(seconds);
    onStep("remote calls");
    const keys = join(folder, "keys");
    await makeKeys({ folder: keys });
    const network = {
      unix: await measureNetwork(seconds, `unix://${join(folder, "socket")}`),
      tcp: await measureNetwork(seconds, "tcp://127.0.0.1:0"),
      tls: await measureNetwork(seconds, "tls://127.0.0.1:0", keys),
    };
    onStep("training steps");
    const clicks = join(folder, "clicks.tsv");
    await generateCriteo({ path: clicks, rows: Math.max(BATCH * MERGED, Math.ceil(20_000 * seconds)) });
    const flops = await measureTraining(clicks);
    const source = `${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores, ${new Date().toISOString().slice(0, 10)}`;
    return { source, pull, push, network, flops, ...repetition(clicks) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const ROWS = 8192;
/** Batches that follow each other, so that rows do not all stay in the processor's cache. */
const BATCHES = 40;
const WIDTHS = [4, 64] as const;

/** Two widths give the cost of a row and of a number in it. */
function measureRows(seconds: number): Pick<Constants, "pull" | "push"> {
  const batches = Array.from({ length: BATCHES }, (_, batch) =>
    BigUint64Array.from({ length: ROWS }, (_, i) =>
      BigInt.asUintN(64, BigInt((i % 4 === 0 ? i : batch * ROWS + i) + 1) * 0x9e3779b97f4a7c15n),
    ),
  );
  const measured = WIDTHS.map((dim) => rowsOfWidth(dim, batches, seconds));
  const cost = (method: "pull" | "push"): Constants["pull"] => {
    const [narrow, wide] = measured.map((each) => each[method]) as [number, number];
    const numberNs = Math.max(0, (wide - narrow) / (WIDTHS[1] - WIDTHS[0]));
    return { rowNs: Math.max(1, narrow - WIDTHS[0] * numberNs), numberNs };
  };
  return { pull: cost("pull"), push: cost("push") };
}

/** Nanoseconds a row. */
function rowsOfWidth(dim: number, batches: readonly BigUint64Array[], seconds: number): { pull: number; push: number } {
  const optimizer = adagrad({ lr: 0.01 });
  const init = { kind: "uniform", scale: 0.01 } as const;
  const fields = [{ name: "embedding", dim, slots: [...updateRule(optimizer, "ps").slots], init }];
  const table = {
    spec: { name: "ids", seed: 1, fields },
    rules: { embedding: { optimizer } },
    accessor: { kind: "ctr" as const },
  };
  const model = parseModel({ mode: "async", workers: 1, partitions: 1, tables: [table] });
  const definition = definitionOf(model);
  const partition = new Partition(Heap.create({ maxBytes: 2 ** 30 }), { partition: 0 });
  const caller = { client: 1n, sequence: 1 };
  try {
    partition.call("define", joinParts(encodeJson(model)), caller);
    const target = { table: 0, fields: [0], width: dim, wire: "f32" } as const;
    const values = new Float32Array(ROWS * dim).fill(0.01);
    const bodies = batches.map((keys) => ({
      pull: joinParts(encodePull({ definition, worker: 0, readOnly: false, sections: [{ ...target, keys }] })),
      push: joinParts(
        encodePush({ definition, worker: 0, step: 0, samples: 1, batches: 1, sections: [{ ...target, keys, values }] }),
      ),
    }));
    const time = (method: "pull" | "push"): number =>
      fastest(seconds / 2, ROWS * BATCHES, () => {
        for (const body of bodies) partition.call(method, body[method], caller);
      });
    const push = time("push");
    return { push, pull: time("pull") };
  } finally {
    partition.dispose();
  }
}

/** Seconds that all threads of this process have computed. */
function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

const ROUNDS = 3;

/**
 * Nanoseconds an item in the fastest of a few rounds: others may disturb a machine, nothing makes it faster. Rounds last
 * long, since the system counts the time of the processor in steps of milliseconds.
 */
function fastest(seconds: number, items: number, work: () => void): number {
  work();
  const rounds = Array.from({ length: ROUNDS }, () => {
    const start = processorSeconds();
    const end = performance.now() + (1000 * seconds) / ROUNDS;
    let done = 0;
    do {
      work();
      done += items;
    } while (performance.now() < end);
    return (processorSeconds() - start) / done;
  });
  return 1e9 * Math.min(...rounds);
}

const BODY_BYTES = 2 ** 20;
const IN_FLIGHT = 4;

/** Bytes a second that one of both ends handles. */
async function measureNetwork(seconds: number, listen: string, keys?: string): Promise<number> {
  const options = keys === undefined ? {} : { keys };
  const workerData = { address: listen, ...options };
  const thread = new Worker(moduleUrl(import.meta.url, "./sink-thread"), { workerData });
  const [address] = (await once(thread, "message")) as [string];
  const client = await RpcClient.connect({ address, ...options });
  const body = new Uint8Array(BODY_BYTES);
  const round = async (duration: number): Promise<number> => {
    const end = performance.now() + 1000 * duration;
    const before = processorSeconds();
    let calls = 0;
    const lane = async (): Promise<void> => {
      do {
        await client.call("sink", [body]);
        calls++;
      } while (performance.now() < end);
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
    return (2 * calls * BODY_BYTES) / (processorSeconds() - before);
  };
  try {
    await round(seconds / 4);
    return Math.max(await round(seconds / 4), await round(seconds / 4), await round(seconds / 4));
  } finally {
    await client.close();
    thread.postMessage("close");
    await once(thread, "exit");
  }
}

const BATCH = 512;
const DIM = 16;
const HIDDEN = [400, 400, 400];
const [CATEGORICAL, DENSE] = [26, 13];

/** Operations a second of one core: those of the products of a DeepFM, in the time of whole steps and of reading. */
async function measureTraining(clicks: string): Promise<number> {
  const job = await init({ threads: 1 });
  try {
    const model = deepFM({ categorical: CATEGORICAL, dense: DENSE, dim: DIM, hidden: HIDDEN });
    const trainer = job.trainer(model, { optimizer: adagrad({ lr: 0.02 }) });
    const data = criteo(clicks, { batch: BATCH });
    // The first pass compiles kernels and makes the rows.
    await trainer.fit(data, { epochs: 1, progress: false });
    const before = processorSeconds();
    const { samples } = await trainer.fit(data, { epochs: 2, progress: false });
    const samplesPerSecond = samples / (processorSeconds() - before);
    const layers = [CATEGORICAL * DIM + DENSE, ...HIDDEN, 1];
    const products = layers.slice(1).reduce((sum, units, i) => sum + layers[i]! * units, 0);
    return 3 * 2 * products * samplesPerSecond;
  } finally {
    await job.close();
  }
}

const MERGED = 8;

/** How ids repeat in batches, and in batches that are merged. */
function repetition(clicks: string): Pick<Constants, "distinct" | "merged"> {
  const rows = readFileSync(clicks, "utf8")
    .split("\n")
    .slice(0, BATCH * MERGED);
  const idsOf = (lines: readonly string[]): Set<string> =>
    new Set(
      lines.flatMap((line) =>
        line
          .split("\t")
          .slice(-CATEGORICAL)
          .map((value, column) => `${column} ${value}`),
      ),
    );
  const batches = Array.from({ length: MERGED }, (_, i) => idsOf(rows.slice(i * BATCH, (i + 1) * BATCH)).size);
  const distinct = batches.reduce((a, b) => a + b, 0);
  return { distinct: distinct / (CATEGORICAL * BATCH * MERGED), merged: idsOf(rows).size / distinct };
}
