// Where a process listens for the others of its job, and how these reach it.
import { join } from "node:path";
import { formatAddress, parseAddress } from "../net/index.ts";
import { ClusterError } from "./error.ts";
import type { World } from "./world.ts";

/** Longer paths of sockets are not bound by every system. */
const MAX_PATH_BYTES = 100;

/**
 * An address to listen at: TLS where the job runs on several machines, else a socket in the job's private folder, else a
 * port of loopback.
 * @param name of the service, as "server-1-partition-0"; it names the socket
 * @param before the address that the service had before its process was started again: it gets the same one, so that others
 * find it again
 * @throws ClusterError when the job runs on several machines and has no keys
 */
export function listenAddress(world: World, name: string, before?: string): string {
  const port = portOf(before);
  if (world.host !== undefined) {
    if (world.keys !== undefined) return `tls://0.0.0.0:${port}`;
    throw new ClusterError(
      `${world.role} ${world.rank} runs on ${world.host} without keys; give the folder of \`flotilla keys make\` in FLOTILLA_KEYS`,
    );
  }
  if (world.folder !== undefined) {
    const path = join(world.folder, name);
    if (Buffer.byteLength(path) <= MAX_PATH_BYTES) return `unix://${path}`;
  }
  return `tcp://127.0.0.1:${port}`;
}

/** The address of a service that listens at `listenAddress`, as others of the job reach it. */
export function reachableAddress(world: World, address: string): string {
  const parsed = parseAddress(address);
  if (world.host === undefined || parsed.protocol !== "tls") return address;
  return formatAddress({ ...parsed, host: world.host });
}

function portOf(address: string | undefined): number {
  const parsed = address === undefined ? undefined : parseAddress(address);
  return parsed === undefined || parsed.protocol === "unix" ? 0 : parsed.port;
}
