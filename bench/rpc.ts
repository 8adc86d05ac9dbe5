// Remote calls between two processes: bytes and requests a second over each transport, beside a plain stream without frames.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { fileURLToPath } from "node:url";
import { readCredentials } from "../src/net/credentials.ts";
import { makeKeys, RpcClient } from "../src/net/index.ts";
import {
  atLeast,
  type BenchGoal,
  type BenchOptions,
  type BenchResult,
  type BenchRow,
  median,
  ratio,
  say,
} from "./lib/report.ts";
import { type PeerReady, type PeerRequest, plainModes } from "./lib/rpc-peer.ts";

const MIB = 2 ** 20;
const REQUEST_BYTES = 4096;
const DEPTHS = [1, 32] as const;
/** Large calls under way at once. */
const LARGE_DEPTH = 4;
/** Plain and framed measurements take turns. */
const ROUNDS = 5;

type Transport = PeerRequest["transport"];

/** What framed calls must reach of a plain stream in the same run: checksums, headers and numbers cost the rest. */
const goals: Readonly<Record<Transport, { readonly large: number; readonly one: number; readonly many: number }>> = {
  unix: { large: 0.6, one: 0.7, many: 0.5 },
  tcp: { large: 0.6, one: 0.7, many: 0.5 },
  tls: { large: 0.7, one: 0.7, many: 0.6 },
};

interface Measure {
  readonly metric: string;
  readonly unit: string;
  /** Of a side in one round: calls a second times `scale`. */
  readonly scale: number;
  readonly goal: (transport: Transport) => number | undefined;
  readonly rpc: (seconds: number) => Promise<number>;
  readonly plain: (seconds: number) => Promise<number>;
}

/** Runs `depth` loops of calls for some time; calls a second. */
async function loops(depth: number, seconds: number, call: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let calls = 0;
  await Promise.all(
    Array.from({ length: depth }, async () => {
      while (performance.now() - start < 1000 * seconds) {
        await call();
        calls++;
      }
    }),
  );
  return (1000 * calls) / (performance.now() - start);
}

/** Messages over a plain connection whose answers have `answerBytes` each; they come in order. */
class PlainCaller {
  readonly #socket: Socket;
  readonly #answerBytes: number;
  readonly #waiting: (() => void)[] = [];
  #received = 0;

  constructor(socket: Socket, answerBytes: number) {
    this.#socket = socket;
    this.#answerBytes = answerBytes;
    socket.on("data", (chunk: Buffer) => {
      this.#received += chunk.length;
      while (this.#received >= this.#answerBytes && this.#waiting.length > 0) {
        this.#received -= this.#answerBytes;
        this.#waiting.shift()!();
      }
    });
  }

  call(parts: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (parts.length > 1) this.#socket.cork();
      for (const part of parts) this.#socket.write(part);
      if (parts.length > 1) this.#socket.uncork();
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}

async function plainCaller(ready: PeerReady, folder: string, mode: number, answerBytes: number): Promise<PlainCaller> {
  const socket = await plainSocket(ready, folder);
  socket.setNoDelay(true);
  socket.write(Uint8Array.of(mode));
  await once(socket, "data");
  socket.removeAllListeners("data");
  return new PlainCaller(socket, answerBytes);
}

async function plainSocket({ rpc, plain }: PeerReady, folder: string): Promise<Socket> {
  if (!rpc.startsWith("tls:") || "path" in plain) {
    const socket = connect(plain);
    await once(socket, "connect");
    return socket;
  }
  const { ca, identity } = await readCredentials(`${folder}/keys`, "worker");
  const socket = tls.connect({ ...plain, ca, cert: identity, key: identity });
  await once(socket, "secureConnect");
  return socket;
}

async function measureTransport(
  transport: Transport,
  options: BenchOptions & { seconds?: number },
): Promise<BenchResult> {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-bench-"));
  let peer: ChildProcess | undefined;
  try {
    if (transport === "tls") await makeKeys({ folder: `${folder}/keys` });
    peer = fork(fileURLToPath(new URL("./lib/rpc-peer.ts", import.meta.url)));
    peer.send({ transport, folder } satisfies PeerRequest);
    const [ready] = (await once(peer, "message")) as [PeerReady];
    const client = await RpcClient.connect({
      address: ready.rpc,
      ...(transport === "tls" && { keys: `${folder}/keys` }),
    });
    const echo = await plainCaller(ready, folder, plainModes.echo, REQUEST_BYTES);
    const sink = await plainCaller(ready, folder, plainModes.sink, 1);
    const request = [new Uint8Array(REQUEST_BYTES).fill(1)];
    const measures: Measure[] = [
      ...[1, 8].map((mebibytes): Measure => {
        const body = new Uint8Array(mebibytes * MIB).fill(7);
        const length = new Uint8Array(Uint32Array.of(body.length).buffer);
        return {
          metric: `calls with ${mebibytes} MiB`,
          unit: "MB/s",
          scale: body.length / 1e6,
          goal: (each) => goals[each].large,
          rpc: (seconds) => loops(LARGE_DEPTH, seconds, () => client.call("sink", [body])),
          plain: (seconds) => loops(LARGE_DEPTH, seconds, () => sink.call([length, body])),
        };
      }),
      ...DEPTHS.map(
        (depth): Measure => ({
          metric: `echo of 4 KiB, ${depth} at a time`,
          unit: "calls/s",
          scale: 1,
          goal: (each) => goals[each][depth === 1 ? "one" : "many"],
          rpc: (seconds) => loops(depth, seconds, () => client.call("echo", request)),
          plain: (seconds) => loops(depth, seconds, () => echo.call(request)),
        }),
      ),
    ];
    const result = await runMeasures(transport, measures, options.seconds ?? 0.6);
    await client.close();
    echo.close();
    sink.close();
    return result;
  } finally {
    peer?.disconnect();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runMeasures(transport: Transport, measures: readonly Measure[], seconds: number): Promise<BenchResult> {
  const rows: BenchRow[] = [];
  const met: BenchGoal[] = [];
  for (const { metric, unit, scale, goal, rpc, plain } of measures) {
    const sides: { plain: number[]; rpc: number[] } = { plain: [], rpc: [] };
    await plain(seconds / 2);
    await rpc(seconds / 2);
    for (let round = 0; round < ROUNDS; round++) {
      sides.plain.push(scale * (await plain(seconds)));
      sides.rpc.push(scale * (await rpc(seconds)));
    }
    rows.push({ system: `plain ${transport}`, metric, value: median(sides.plain), unit });
    rows.push({ system: `rpc ${transport}`, metric, value: median(sides.rpc), unit });
    const wanted = goal(transport);
    const share = ratio(sides.rpc, sides.plain);
    if (wanted !== undefined) met.push(atLeast(`${transport}, ${metric}: rpc / plain`, share, wanted));
  }
  return { rows, goals: met };
}

/** Goals are ratios to a plain stream of the same kind in the same run. */
export async function run(options: BenchOptions & { readonly seconds?: number } = {}): Promise<BenchResult> {
  const results: BenchResult[] = [];
  for (const transport of ["unix", "tcp", "tls"] as const) {
    say(`rpc over ${transport}`);
    results.push(await measureTransport(transport, options));
  }
  return { rows: results.flatMap(({ rows }) => rows), goals: results.flatMap((result) => result.goals) };
}
