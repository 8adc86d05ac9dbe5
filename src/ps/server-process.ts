// A server of a job: starts its partitions, tells the others where they are, and serves until it is told to end.
import { mkdir, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { formatDuration, listenAddress, Member, reachableAddress, type World } from "../cluster/index.ts";
import type { PartitionStatistics } from "./requests.ts";
import { type PartitionThread, startThread } from "./server.ts";

/** Between two looks at the partitions, for `flotilla status`. */
const REPORT_MS = 2000;
/** A worker that lets others wait for so long is named. */
const STALL_MS = 30_000;

/**
 * Runs a server process: `FLOTILLA_THREADS` partitions (default: one a core), with their files under
 * `FLOTILLA_SERVER_FOLDER` (default: `.flotilla/JOB/server-RANK`). A first attempt begins with nothing, later ones take up
 * what the process before left. Returns the exit code.
 */
export async function runServer(world: World): Promise<number> {
  const { rank, job, attempt, threads: count = availableParallelism() } = world;
  const base = process.env.FLOTILLA_SERVER_FOLDER ?? join(".flotilla", job);
  const folder = resolve(base, `server-${rank}`);
  if (attempt === 0) await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const stop = Promise.withResolvers<number>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop.resolve(0));
  const threads: PartitionThread[] = [];
  const member = await Member.connect(world, { onLost: () => stop.resolve(0) });
  let code = 1;
  try {
    for (let i = 0; i < count; i++) {
      const thread = await startPartition(world, folder, rank * count + i, (error) => {
        console.error(`${error.message}; this server ends`);
        stop.resolve(1);
      });
      threads.push(thread);
    }
    await member.join({ addresses: threads.map(({ address }) => reachableAddress(world, address)) });
    const unwatch = await watchWorkers(member, world, threads);
    const timer = setInterval(() => void report(member, threads).catch(() => {}), REPORT_MS);
    code = await stop.promise;
    clearInterval(timer);
    unwatch();
    return code;
  } finally {
    await Promise.all(threads.map((thread) => thread.close()));
    await member.leave().catch(() => {});
    // The files of a server that was told to end are of no use any more.
    if (code === 0) await rm(folder, { recursive: true, force: true });
  }
}

async function startPartition(
  world: World,
  folder: string,
  partition: number,
  onFailure: (error: Error) => void,
): Promise<PartitionThread> {
  const note = (message: string): void => console.error(`partition ${partition}${message}`);
  const thread = await startThread(
    {
      partition,
      address: listenAddress(world, `server-${world.rank}-partition-${partition}`),
      ...(world.keys !== undefined && { keys: world.keys }),
      folder: join(folder, `partition-${partition}`),
    },
    { onFailure, onNote: (message) => note(`: ${message}`) },
  );
  if (thread.restored !== undefined) {
    const { steps, records, tornBytes } = thread.restored;
    const torn = tornBytes > 0 ? `, without ${tornBytes} bytes that the end cut` : "";
    note(` is back at step ${steps}: ${records} changes from its journal${torn}`);
  }
  return thread;
}

/** Mode `sync` waits for the workers that are there, or have not been there yet. */
async function watchWorkers(
  member: Member,
  { workers }: World,
  threads: readonly PartitionThread[],
): Promise<() => void> {
  const ranks = new Set(Array.from({ length: workers }, (_, rank) => rank));
  const tell = (): void => {
    for (const thread of threads) thread.setWorkers([...ranks]);
  };
  const unwatch = member.watch(({ kind, member: { role, rank } }) => {
    if (role !== "worker" || kind === "stalled") return;
    if (kind === "joined") ranks.add(rank);
    else ranks.delete(rank);
    tell();
  });
  // What happened before, as a server that comes back must know.
  for (const { role, rank, state } of await member.list())
    if (role === "worker" && state !== "alive") ranks.delete(rank);
  tell();
  return unwatch;
}

async function report(member: Member, threads: readonly PartitionThread[]): Promise<void> {
  const all = await Promise.all(threads.map((thread) => thread.statistics()));
  const sum = (of: (statistics: PartitionStatistics) => number): number =>
    all.reduce((total, each) => total + of(each), 0);
  const stalled = all.find(({ waitingFor, waitingMs }) => waitingFor.length > 0 && waitingMs > STALL_MS);
  member.report({
    step: Math.max(...all.map(({ steps }) => steps)),
    rows: sum(({ tables }) => tables.reduce((total, { rows }) => total + rows, 0)),
    bytes: sum(({ bytes }) => bytes),
    pushes: sum(({ pushes }) => pushes),
    pulls: sum(({ pulls }) => pulls),
    ...(stalled && {
      activity: `waits for worker ${stalled.waitingFor.join(", ")} since ${formatDuration(stalled.waitingMs)}`,
    }),
  });
}
