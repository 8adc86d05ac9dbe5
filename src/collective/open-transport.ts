// From plain data to a transport, in the thread that will use it. Blocks until all ranks have come.
import { rmSync } from "node:fs";
import type { Heap } from "../memory/index.ts";
import type { KeysOption } from "../net/index.ts";
import { mpiTransport } from "./mpi/transport.ts";
import { relayTransport } from "./relay/transport.ts";
import { listenOn, rankAddress } from "./sockets/address.ts";
import { Mesh } from "./sockets/mesh.ts";
import { sharedTransport } from "./sockets/shared.ts";
import { SocketTransport } from "./sockets/transport.ts";
import { type ThreadGroup, threadTransport } from "./threads.ts";
import { checkPlace, type Transport } from "./transport.ts";

/** Which transport, and what it needs. Plain data, the same on all ranks but for the listener. */
export type TransportSpec =
  | { readonly kind: "threads"; readonly group: ThreadGroup }
  | {
      /** Between machines, encrypted, with certificates on both sides. */
      readonly kind: "tls";
      readonly addresses: readonly string[];
      /** The folder of certificates. */
      readonly keys: KeysOption;
      readonly job?: string;
      readonly connectMs?: number;
    }
  /** In processes that mpirun started. */
  | { readonly kind: "mpi" }
  | {
      /** `unix` and `shared`: processes of one machine. `tcp`: a machine, or a network closed to others. */
      readonly kind: "unix" | "shared" | "tcp";
      /** Of all ranks, in their order. */
      readonly addresses: readonly string[];
      /** What `listenOn` gave for this rank's address. Default: the transport listens itself. */
      readonly listener?: number;
      /** Plain tcp may leave this machine: the network is closed to others. */
      readonly trusted?: boolean;
      /** Ranks of other jobs are turned away by this name. */
      readonly job?: string;
      readonly connectMs?: number;
      /** Of `shared`: bytes of each rank that all can read, so that tensors there are reduced in place. The same on all. */
      readonly bufferBytes?: number;
    };

export interface Place {
  readonly rank: number;
  readonly size: number;
  readonly heap: Heap;
  readonly stallMs?: number;
}

/** @throws when a rank does not come in time; PeerError names it */
export function openTransport(spec: TransportSpec, place: Place): Transport {
  const { rank, size, heap, ...options } = place;
  checkPlace(rank, size);
  if (spec.kind === "threads") {
    if (spec.group.size !== size) throw new RangeError(`the thread group is for ${spec.group.size} ranks, not ${size}`);
    return threadTransport({ heap, rank, group: spec.group, ...options });
  }
  if (spec.kind === "mpi") return mpiTransport(place);
  if (spec.addresses.length !== size) {
    throw new RangeError(`addresses must name all ${size} ranks, got ${spec.addresses.length}`);
  }
  if (spec.kind === "tls") return relayTransport({ name: "tls", ...spec, ...place });
  if (process.platform !== "linux" && spec.kind !== "shared") {
    return relayTransport({ name: spec.kind, ...spec, ...place });
  }
  const { kind, addresses, listener, job, bufferBytes = 0, ...rest } = spec;
  const fd = listener ?? listenOn(addresses[rank]!, spec.trusted ?? false).fd;
  const group = job === undefined ? {} : { group: job };
  const mesh = new Mesh({ rank, size, addresses, listener: fd, heap, ...group, ...rest });
  // All ranks have come, so the name of the socket is of no more use.
  const own = rankAddress(addresses[rank]!, true);
  if (own.protocol === "unix") rmSync(own.path, { force: true });
  if (kind === "shared") return sharedTransport({ mesh, heap, bufferBytes, ...options });
  return new SocketTransport({ name: kind, mesh, heap, ...options });
}
