// A group of all workers of a job: they tell each other by the coordinator where they are, and take the transport that
// their machines allow: memory on one machine, TLS between several, plain tcp where the network is trusted.
import { lookup } from "node:dns/promises";
import type { Membership, World } from "../cluster/index.ts";
import { listenAddress, reachableAddress } from "../cluster/index.ts";
import type { Heap } from "../memory/index.ts";
import { type Address, formatAddress, parseAddress } from "../net/index.ts";
import { type Links, typicalLinks } from "./cost-model.ts";
import { Group } from "./group.ts";
import type { TransportSpec } from "./open-transport.ts";
import { type Listening, listenOn, rankAddress } from "./sockets/address.ts";
import { libc } from "./sockets/libc.ts";

export interface JoinGroupOptions {
  readonly heap: Heap;
  /** Tells groups of one job apart; default "workers". All ranks open their groups in the same order. */
  readonly name?: string;
  /** How often the group was formed before: after a failure the survivors and who returned agree on the next number. */
  readonly generation?: number;
  /** On one machine: bytes of each rank's heap that all can read, the same on all ranks. */
  readonly bufferBytes?: number;
  readonly connectMs?: number;
  readonly stallMs?: number;
}

/** What a rank tells the others. */
interface Card {
  readonly address: string;
  readonly host: string;
}

/**
 * @param member has joined
 * @throws PeerError when a rank does not come in time
 */
export async function joinGroup(
  member: Pick<Membership, "set" | "get">,
  world: World,
  options: JoinGroupOptions,
): Promise<Group> {
  const { heap, name = "workers", generation = 0, bufferBytes = 0, connectMs, stallMs } = options;
  const { rank, workers: size, job, keys } = world;
  const prefix = `collective/${name}/${generation}/`;
  const { listening, reached } = await place(world, `worker-${rank}-${name}`);
  const card: Card = { address: reached, host: world.host ?? "" };
  await member.set(`${prefix}${rank}`, JSON.stringify(card));
  const wait = connectMs === undefined ? {} : { timeoutMs: connectMs };
  const cards = await Promise.all(
    Array.from({ length: size }, async (_, peer) => {
      const text = Buffer.from(await member.get(`${prefix}${peer}`, wait)).toString();
      return JSON.parse(text) as Card;
    }),
  );
  const common = {
    addresses: cards.map(({ address }, peer) => (peer === rank ? listening.address : address)),
    job: `${job}/${name}/${generation}`,
    ...(connectMs === undefined ? {} : { connectMs }),
  };
  const transport: TransportSpec =
    listening.fd < 0
      ? { kind: "tls", keys: keys!, ...common }
      : isPlain(world)
        ? { kind: "tcp", listener: listening.fd, trusted: true, ...common }
        : { kind: "shared", listener: listening.fd, bufferBytes, ...common };
  const links = linksOf(transport.kind, cards);
  return await Group.open({ rank, size, heap, transport, links, ...(stallMs === undefined ? {} : { stallMs }) });
}

/** Whether ranks on other machines are reached without encryption. */
const isPlain = ({ host, trustedNetwork }: World): boolean => host !== undefined && trustedNetwork === true;

/** Listens, or chooses where the relay will. */
async function place(world: World, name: string): Promise<{ listening: Listening; reached: string }> {
  if (isPlain(world)) {
    const { address: host, family } = await lookup(world.host!);
    const listening = listenOn(`tcp://${family === 6 ? "[::]" : "0.0.0.0"}:0`, true);
    return { listening, reached: formatAddress({ ...rankAddress(listening.address, true), host } as Address) };
  }
  const wanted = listenAddress(world, name);
  const parsed = parseAddress(wanted);
  if (parsed.protocol !== "tls") {
    const listening = listenOn(wanted);
    return { listening, reached: listening.address };
  }
  const probe = listenOn(formatAddress({ ...parsed, protocol: "tcp" }), true);
  libc().close(probe.fd);
  const address = probe.address.replace(/^tcp:/, "tls:");
  return { listening: { fd: -1, address }, reached: reachableAddress(world, address) };
}

/** Ranks of a machine are near where each machine has the same number of consecutive ones. */
function linksOf(kind: string, cards: readonly Card[]): Links {
  const near = cards.filter(({ host }) => host === cards[0]!.host).length;
  const even = cards.every(({ host }, peer) => host === cards[peer - (peer % near)]!.host) && cards.length % near === 0;
  return { ...(typicalLinks[kind] ?? typicalLinks.tls!), groupSize: even ? near : cards.length };
}
