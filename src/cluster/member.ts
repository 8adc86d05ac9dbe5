// A process as a member of its job: the client of the coordinator.
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { type ConnectionError, type LinkOptions, RpcClient, RpcError } from "../net/index.ts";
import { reachableAddress } from "./addresses.ts";
import { Coordinator } from "./coordinator.ts";
import { CoordinatorClient } from "./coordinator-client.ts";
import { HOLD_MS } from "./messages.ts";
import {
  announceHost,
  awaitRendezvous,
  hasRendezvous,
  openRendezvous,
  removeRendezvous,
  settleWorld,
} from "./rendezvous.ts";
import type {
  BarrierOptions,
  JoinOptions,
  MemberEvent,
  MemberInfo,
  Membership,
  Report,
  Role,
  SetOptions,
  WaitOptions,
  WorkQueue,
  WorkUnit,
} from "./types.ts";
import type { World } from "./world.ts";

/** Between two reports. */
const REPORT_MS = 500;
/** How long an address from a file is tried before the file is read again: it may be that of an earlier job. */
const TRY_MS = 1000;

export interface MemberOptions extends Pick<LinkOptions, "faults" | "heartbeatMs"> {
  /** How long to wait for a coordinator that is not there yet. Default 60 000. */
  readonly connectMs?: number;
  /** Called when the coordinator has not been reached for `lostMs`: the job has ended, or this machine is cut off. */
  readonly onLost?: (error: ConnectionError) => void;
  /** Default 30 000. */
  readonly lostMs?: number;
}

/**
 * @example
 * const member = await Member.connect(worldFromEnvironment());
 * await member.join({ addresses: [server.address] });
 * const servers = await member.members("server", member.world.servers);
 */
export class Member implements Membership {
  /** With the host name that the system knows. */
  readonly world: World;
  readonly #client: CoordinatorClient;
  /** Where this process runs it itself. */
  readonly #coordinator: Coordinator | undefined;
  readonly #stop = new AbortController();
  #report: Report | undefined;
  #reporting = false;

  private constructor(world: World, client: RpcClient, coordinator: Coordinator | undefined) {
    this.world = world;
    this.#client = new CoordinatorClient(client);
    this.#coordinator = coordinator;
  }

  /**
   * Connects to the coordinator of the world. Where the world names a file, worker 0 starts the coordinator itself and the
   * others wait for it; a process that is the whole job starts one of its own.
   * @throws ConnectionError or ClusterError when there is none within `connectMs`
   */
  static async connect(given: World, options: MemberOptions = {}): Promise<Member> {
    const world = await settleWorld(given);
    const { connectMs = 60_000 } = options;
    if (!hasRendezvous(world)) {
      if (world.coordinator !== undefined) {
        return new Member(world, await dial(world, world.coordinator, options, connectMs), undefined);
      }
      return await Member.#own(world, await Coordinator.start({ ...world, address: "tcp://127.0.0.1:0" }), options);
    }
    const meeting = { size: world.workers + world.servers, rank: world.rank, timeoutMs: connectMs };
    await announceHost(world, meeting);
    if (meeting.rank === 0) return await Member.#own(world, await openRendezvous(world, meeting), options);
    const client = await awaitRendezvous(world, connectMs, (address) => dial(world, address, options, TRY_MS));
    return new Member(world, client, undefined);
  }

  static async #own(world: World, coordinator: Coordinator, options: MemberOptions): Promise<Member> {
    try {
      const client = await dial(world, reachableAddress(world, coordinator.address), options, TRY_MS);
      return new Member(world, client, coordinator);
    } catch (error) {
      await coordinator.close();
      throw error;
    }
  }

  async join(options: JoinOptions = {}): Promise<void> {
    const { addresses = [], role, rank, attempt } = { ...this.world, ...options };
    const host = this.world.host ?? hostname();
    await this.#client.call("join", { role, rank, attempt, addresses: [...addresses], host, pid: process.pid });
  }

  async members(role: Role, count: number, options: WaitOptions = {}): Promise<MemberInfo[]> {
    const what = `waiting for ${count} ${role}s`;
    return (await this.#client.wait("members", { role, count }, what, options)).head.members;
  }

  async list(): Promise<MemberInfo[]> {
    return (await this.#client.call("list", {})).head.members;
  }

  watch(callback: (event: MemberEvent) => void): () => void {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.#stop.signal]);
    this.#follow(callback, signal).catch((error: unknown) => {
      // The client has given up: nothing happens any more that could be told.
      if (!(error instanceof RpcError)) throw error;
    });
    return () => stop.abort();
  }

  async barrier(name: string, count: number, options: BarrierOptions = {}): Promise<void> {
    const { generation } = (await this.#client.call("arrive", { name, count })).head;
    const failOnDeath = (options.whenDead ?? "fail") === "fail";
    const what = `barrier ${JSON.stringify(name)}`;
    try {
      await this.#client.wait("wait", { name, generation, failOnDeath }, what, options);
    } catch (error) {
      // Best effort: where the coordinator is gone, nobody waits.
      await this.#client.call("withdraw", { name, generation }, undefined, { deadlineMs: 5000 }).catch(() => {});
      throw error;
    }
  }

  async set(key: string, value: Uint8Array | string, { ifAbsent = false }: SetOptions = {}): Promise<boolean> {
    const bytes = typeof value === "string" ? Buffer.from(value) : value;
    return (await this.#client.call("set", { key, ifAbsent }, bytes)).head.written;
  }

  async get(key: string, options: WaitOptions = {}): Promise<Uint8Array> {
    const what = `waiting for the value of ${JSON.stringify(key)}`;
    return (await this.#client.wait("get", { key }, what, options)).bytes;
  }

  async peek(key: string): Promise<Uint8Array | undefined> {
    const { head, bytes } = await this.#client.call("peek", { key });
    return head.found ? bytes : undefined;
  }

  async delete(key: string): Promise<void> {
    await this.#client.call("delete", { key });
  }

  async lease(key: string, items: readonly string[]): Promise<WorkQueue> {
    await this.#client.call("open", { key, items: [...items] });
    const what = `waiting for work of ${JSON.stringify(key)}`;
    return {
      next: async (options = {}) => {
        const settings = { ...options, timeoutMs: Number.POSITIVE_INFINITY };
        const { head } = await this.#client.wait("next", { key }, what, settings);
        return "finished" in head ? undefined : this.#unit(key, head.index, head.item, head.noted);
      },
    };
  }

  report(values: Report): void {
    this.#report = values;
    if (this.#reporting) return;
    this.#reporting = true;
    this.#sendReports().finally(() => {
      this.#reporting = false;
    });
  }

  async leave(): Promise<void> {
    try {
      if (this.#report !== undefined) await this.#sendReport();
      await this.#client.call("leave", {}, undefined, { deadlineMs: 5000 });
      await this.#coordinator?.deserted();
    } finally {
      await this.close();
    }
  }

  /** Ends the connection at once. A member that has not left counts as dead; the job ends with the one that coordinates it. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#client.rpc.close();
    await this.#coordinator?.close();
    if (this.#coordinator !== undefined && hasRendezvous(this.world)) await removeRendezvous(this.world);
  }

  #unit(key: string, index: number, item: string, noted: string | undefined): WorkUnit {
    return {
      ...{ index, item, noted },
      progress: async (note) => {
        await this.#client.call("note", { key, index, note });
      },
      done: async () => {
        await this.#client.call("done", { key, index });
      },
    };
  }

  async #follow(callback: (event: MemberEvent) => void, signal: AbortSignal): Promise<void> {
    for (let since = -1; !signal.aborted; ) {
      const call = { since, holdMs: HOLD_MS };
      const settings = { signal, deadlineMs: Number.POSITIVE_INFINITY };
      const { next, events } = (await this.#client.call("events", call, undefined, settings)).head;
      since = next;
      for (const event of events) if (!signal.aborted) callback(event as MemberEvent);
    }
  }

  async #sendReports(): Promise<void> {
    while (this.#report !== undefined && !this.#stop.signal.aborted) {
      // A report that is lost is followed by the next one.
      await this.#sendReport().catch(() => {});
      await sleep(REPORT_MS, undefined, { ref: false });
    }
  }

  async #sendReport(): Promise<void> {
    const given = Object.entries(this.#report!).filter(
      (entry): entry is [string, number | string] =>
        typeof entry[1] === "string" || (typeof entry[1] === "number" && Number.isFinite(entry[1])),
    );
    this.#report = undefined;
    await this.#client.call("report", Object.fromEntries(given));
  }
}

function dial(world: World, address: string, options: MemberOptions, connectMs: number): Promise<RpcClient> {
  const { lostMs = 30_000, onLost, faults, heartbeatMs } = options;
  let lost: NodeJS.Timeout | undefined;
  return RpcClient.connect({
    address,
    name: `${world.role} ${world.rank}`,
    connectMs,
    // A script that has come to its end shall end, whether it left or not.
    keepAlive: false,
    ...(world.keys !== undefined && { keys: { folder: world.keys, role: world.role } }),
    ...(faults !== undefined && { faults }),
    ...(heartbeatMs !== undefined && { heartbeatMs }),
    onDisconnect: (error) => {
      if (onLost !== undefined) lost ??= setTimeout(() => onLost(error), lostMs).unref();
    },
    onReconnect: () => {
      clearTimeout(lost);
      lost = undefined;
    },
  });
}
