// How processes that a scheduler started find their coordinator: worker 0 runs it and writes its address to a file that all
// can read, after all have written there by which names they are reached.

import { lookup } from "node:dns/promises";
import { mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ConnectionError, makeKeys } from "../net/index.ts";
import { listenAddress, reachableAddress } from "./addresses.ts";
import { Coordinator, type CoordinatorOptions } from "./coordinator.ts";
import { ClusterError } from "./error.ts";
import type { World } from "./world.ts";

const POLL_MS = 50;
const sharedFolder = "all machines must see the same folder: set FLOTILLA_RENDEZVOUS to one that they share";

/** Whether the world names a file in which the coordinator's address will be. */
export function hasRendezvous(world: World): boolean {
  return world.coordinator?.startsWith("file:") ?? false;
}

/**
 * The world with a host name that the system knows: what a scheduler calls a machine need not be one. Prepares the private
 * folder.
 */
export async function settleWorld(world: World): Promise<World> {
  if (world.folder !== undefined && world.host === undefined)
    await mkdir(world.folder, { recursive: true, mode: 0o700 });
  if (world.host === undefined || !hasRendezvous(world)) return world;
  const known = await lookup(world.host).then(
    () => true,
    () => false,
  );
  return known ? world : { ...world, host: hostname() };
}

export interface Rendezvous {
  /** Tasks that meet, and this one's number. */
  readonly size: number;
  readonly rank: number;
  readonly timeoutMs: number;
}

/** Starts the coordinator in the first task and tells the others where it is. The file goes when it is closed. */
export async function openRendezvous(
  world: World,
  meeting: Rendezvous,
  options: Omit<CoordinatorOptions, "address" | "workers" | "servers" | "keys"> = {},
): Promise<Coordinator> {
  const path = fileURLToPath(world.coordinator!);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  if (world.host !== undefined && world.keys !== undefined) await makeMissingKeys(world, meeting, dirname(path));
  const coordinator = await Coordinator.start({
    ...options,
    address: listenAddress(world, "coordinator"),
    workers: world.workers,
    servers: world.servers,
    ...(world.keys !== undefined && { keys: world.keys }),
  });
  await writeWhole(path, JSON.stringify({ address: reachableAddress(world, coordinator.address) }));
  return coordinator;
}

/** Tells the first task how this one is reached. */
export async function announceHost(world: World, { rank }: Rendezvous): Promise<void> {
  if (world.host === undefined) return;
  const folder = join(dirname(fileURLToPath(world.coordinator!)), "hosts");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeWhole(join(folder, String(rank)), world.host);
}

/** Waits for the address in the file and connects there. An address that does not answer may be that of an earlier job. */
export async function awaitRendezvous<T>(
  world: World,
  timeoutMs: number,
  connect: (address: string) => Promise<T>,
): Promise<T> {
  for (const deadline = performance.now() + timeoutMs; ; await sleep(POLL_MS)) {
    const address = await readRendezvous(world);
    const late = performance.now() > deadline;
    if (address === undefined && late) {
      throw new ClusterError(
        `no coordinator has written its address to ${world.coordinator} within ${timeoutMs / 1000} s; ${sharedFolder}`,
      );
    }
    if (address === undefined) continue;
    try {
      return await connect(address);
    } catch (error) {
      if (late || !(error instanceof ConnectionError)) throw error;
    }
  }
}

/** The address in the file now; undefined while there is none. */
export async function readRendezvous(world: World): Promise<string | undefined> {
  const text = await readFile(fileURLToPath(world.coordinator!), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const { address } = JSON.parse(text) as { address?: unknown };
  if (typeof address === "string") return address;
  throw new ClusterError(`${world.coordinator} holds no address of a coordinator; remove it`);
}

/** After the job: what the first task and the others have left there. Keys that were given stay. */
export async function removeRendezvous(world: World): Promise<void> {
  const path = fileURLToPath(world.coordinator!);
  const folder = dirname(path);
  await rm(path, { force: true });
  await rm(join(folder, "hosts"), { recursive: true, force: true });
  if (world.keys === join(folder, "keys")) await rm(world.keys, { recursive: true, force: true });
  if (world.host === undefined && world.folder !== undefined) await rm(world.folder, { recursive: true, force: true });
  // The output of a batch job may be there.
  else await rmdir(folder).catch(() => {});
}

/** Certificates name the machines, so all must have said how they are reached. */
async function makeMissingKeys(world: World, { size, timeoutMs }: Rendezvous, folder: string): Promise<void> {
  const keys = world.keys!;
  const present = await readdir(keys).catch(() => []);
  if (present.length > 0) return;
  const hosts = await allHosts(join(folder, "hosts"), size, timeoutMs);
  await makeKeys({ folder: keys, hosts });
}

async function allHosts(folder: string, size: number, timeoutMs: number): Promise<string[]> {
  for (const deadline = performance.now() + timeoutMs; ; await sleep(POLL_MS)) {
    const ranks = (await readdir(folder).catch(() => [])).filter((name) => /^\d+$/.test(name));
    if (ranks.length >= size) {
      const names = await Promise.all(ranks.map((rank) => readFile(join(folder, rank), "utf8")));
      return [...new Set(names)];
    }
    if (performance.now() > deadline) {
      throw new ClusterError(
        `only ${ranks.length} of ${size} tasks have come to ${folder} within ${timeoutMs / 1000} s; ${sharedFolder}`,
      );
    }
  }
}

async function writeWhole(path: string, text: string): Promise<void> {
  const temporary = `${path}.tmp-${hostname()}-${process.pid}`;
  await writeFile(temporary, text, { mode: 0o600 });
  await rename(temporary, path);
}
