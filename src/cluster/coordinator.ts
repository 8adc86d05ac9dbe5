// The service through which the processes of a job find and await each other. It holds its state in memory: it runs in the
// process whose end is the end of the job.

import { z } from "zod";
import {
  type ConnectionError,
  type Handler,
  type Handlers,
  type KeysOption,
  type LinkOptions,
  type Method,
  type Peer,
  RpcError,
  RpcServer,
} from "../net/index.ts";
import { Barriers } from "./barriers.ts";
import { Changes } from "./changes.ts";
import { ClusterError } from "./error.ts";
import { KeyValues } from "./key-values.ts";
import { Leases } from "./leases.ts";
import { MemberList, type MemberRecord, type Place } from "./membership.ts";
import { methods } from "./messages.ts";
import type { MemberEvent, MemberInfo } from "./types.ts";
import { decode, encode } from "./wire.ts";

const optionsSchema = z.object({
  workers: z.int().min(1),
  servers: z.int().min(0),
  silenceMs: z.number().min(100).default(15_000),
  returnMs: z.number().min(0).default(1000),
  stallMs: z.number().min(100).default(30_000),
});

export interface CoordinatorOptions extends Pick<LinkOptions, "faults"> {
  /** As net takes them; port 0 lets the system choose. */
  readonly address: string;
  readonly workers: number;
  readonly servers: number;
  /** For `tls://`. */
  readonly keys?: KeysOption;
  /** A member that is not heard of for so long is dead; one that compiles a large model is busy for seconds. Default 15 000. */
  readonly silenceMs?: number;
  /** How long a member whose connection broke may take to come back. Default 1000. */
  readonly returnMs?: number;
  /** A member whose step has not risen for so long, while another's has, is named. Default 30 000. */
  readonly stallMs?: number;
  /** Joins, ends, deaths and stalls, for a log. */
  readonly onEvent?: (event: MemberEvent) => void;
  /** A peer that was refused, or sent what it should not. */
  readonly onError?: (error: ConnectionError) => void;
  /** Further methods of the service; their names must not begin with `cluster.`. */
  readonly handlers?: Handlers;
}

/**
 * @example
 * const coordinator = await Coordinator.start({ address: "tcp://127.0.0.1:0", workers: 2, servers: 0 });
 */
export class Coordinator {
  readonly #members: MemberList;
  readonly #barriers = new Barriers();
  readonly #values = new KeyValues();
  readonly #leases = new Leases();
  readonly #changes = new Changes();
  /** Members whose connection broke and who may come back. */
  readonly #absent = new Map<MemberRecord, NodeJS.Timeout>();
  readonly #returnMs: number;
  readonly #stallTimer: NodeJS.Timeout;
  #server!: RpcServer;

  private constructor(options: CoordinatorOptions, checked: z.output<typeof optionsSchema>) {
    this.#returnMs = checked.returnMs;
    this.#members = new MemberList({
      workers: checked.workers,
      servers: checked.servers,
      now: Date.now,
      onEvent: (event) => {
        options.onEvent?.(event);
        this.#changes.notify();
      },
      onGone: (member) => {
        this.#barriers.remove(member);
        this.#leases.release(member);
        this.#changes.notify();
      },
    });
    const { stallMs } = checked;
    this.#stallTimer = setInterval(() => this.#members.tellStalled(stallMs), Math.min(1000, stallMs / 4)).unref();
  }

  /** @throws ClusterError that names a wrong option; ConnectionError when the address or the keys are not usable */
  static async start(options: CoordinatorOptions): Promise<Coordinator> {
    const checked = optionsSchema.safeParse(options);
    if (!checked.success) throw new ClusterError(`Coordinator.start: ${z.prettifyError(checked.error)}`);
    const coordinator = new Coordinator(options, checked.data);
    const { address, keys, faults, onError } = options;
    try {
      coordinator.#server = await RpcServer.listen({
        address,
        handlers: { ...options.handlers, ...coordinator.#handlers() },
        silenceMs: checked.data.silenceMs,
        maxFrameBytes: 2 ** 28,
        onConnect: (peer) => coordinator.#connected(peer),
        onDisconnect: (peer, reason) => coordinator.#disconnected(peer, reason),
        ...(keys !== undefined && { keys }),
        ...(faults !== undefined && { faults }),
        ...(onError !== undefined && { onError }),
      });
    } catch (error) {
      clearInterval(coordinator.#stallTimer);
      throw error;
    }
    return coordinator;
  }

  /** Where members connect. */
  get address(): string {
    return this.#server.address;
  }

  /** All that have joined, servers first, by rank, also those that have ended. */
  members(): MemberInfo[] {
    return this.#members.list();
  }

  /** For a launcher, which sees a process end before its connection does. Attempts after `attempt` are not meant. */
  declareDead(place: Place, attempt: number, reason: string): void {
    const member = this.#members.at(place);
    if (member === undefined || member.joining.attempt > attempt) return;
    this.#stay(member);
    this.#members.died(member, reason);
  }

  /** Resolves when no member is alive, and with `peers` nobody else is connected either, or after the time. */
  async deserted({ peers = false, timeoutMs = Number.POSITIVE_INFINITY } = {}): Promise<void> {
    const empty = (): boolean => this.#members.alive.length === 0 && !(peers && this.#server.peers.length > 0);
    await this.#changes.wait(empty, timeoutMs);
  }

  async close(): Promise<void> {
    clearInterval(this.#stallTimer);
    for (const timer of this.#absent.values()) clearTimeout(timer);
    this.#absent.clear();
    await this.#server.close();
  }

  #connected(peer: Peer): void {
    const member = this.#members.find(peer.client);
    if (member === undefined) return;
    this.#stay(member);
    this.#members.returned(member);
  }

  #disconnected(peer: Peer, reason: string | undefined): void {
    this.#changes.notify();
    const member = this.#members.find(peer.client);
    if (member?.state !== "alive" || this.#absent.has(member)) return;
    const died = (): void => {
      this.#absent.delete(member);
      this.#members.died(member, reason ?? "it ended its connection without leaving");
    };
    this.#absent.set(member, setTimeout(died, reason === undefined ? 0 : this.#returnMs));
  }

  #stay(member: MemberRecord): void {
    clearTimeout(this.#absent.get(member));
    this.#absent.delete(member);
  }

  #handlers(): Record<string, Method> {
    const members = this.#members;
    const values = this.#values;
    const leases = this.#leases;
    const pending = (missing: string): Uint8Array[] => encode({ missing });
    const once = (handle: Handler): Method => ({ once: true, handle });
    return {
      "cluster.join": once((body, { client }) => {
        members.join(client, decode(methods.join.call, body).head);
        return encode({});
      }),
      "cluster.leave": once((_, { client }) => {
        members.leave(members.of(client, "leave"));
        return encode({});
      }),
      "cluster.list": () => encode({ members: members.list() }),
      "cluster.members": async (body, { signal }) => {
        const { role, count, holdMs } = decode(methods.members.call, body).head;
        await this.#changes.wait(() => typeof members.complete(role, count) !== "string", holdMs, signal);
        const found = members.complete(role, count);
        return typeof found === "string" ? pending(found) : encode({ members: found });
      },
      "cluster.events": async (body, { signal }) => {
        const { since, holdMs } = decode(methods.events.call, body).head;
        const from = since < 0 ? members.nextEvent : since;
        await this.#changes.wait(() => members.nextEvent > from, since < 0 ? 0 : holdMs, signal);
        return encode({ next: members.nextEvent, events: members.eventsSince(from) });
      },
      "cluster.arrive": once((body, { client }) => {
        const { name, count } = decode(methods.arrive.call, body).head;
        const generation = this.#barriers.arrive(name, count, members.of(client, `barrier ${JSON.stringify(name)}`));
        this.#changes.notify();
        return encode({ generation });
      }),
      "cluster.wait": async (body, { client, signal }) => {
        const { name, generation, failOnDeath, holdMs } = decode(methods.wait.call, body).head;
        const member = members.of(client, `barrier ${JSON.stringify(name)}`);
        const dead = (): MemberRecord | undefined => (failOnDeath ? members.dead(member.role) : undefined);
        const passed = (): boolean => this.#barriers.passed(name, generation, member);
        await this.#changes.wait(() => passed() || dead() !== undefined, holdMs, signal);
        if (passed()) {
          this.#changes.notify();
          return encode({ passed: true });
        }
        const gone = dead();
        if (gone === undefined) return pending(this.#barriers.missing(name));
        throw new RpcError("died", `barrier ${JSON.stringify(name)}: ${gone.name} is dead: ${gone.reason}`);
      },
      "cluster.withdraw": once((body, { client }) => {
        const { name, generation } = decode(methods.withdraw.call, body).head;
        this.#barriers.withdraw(name, generation, members.of(client, `barrier ${JSON.stringify(name)}`));
        return encode({});
      }),
      "cluster.set": once((body) => {
        const { head, bytes } = decode(methods.set.call, body);
        const written = values.set(head.key, bytes, head.ifAbsent);
        this.#changes.notify();
        return encode({ written });
      }),
      "cluster.get": async (body, { signal }) => {
        const { key, holdMs } = decode(methods.get.call, body).head;
        await this.#changes.wait(() => values.get(key) !== undefined, holdMs, signal);
        const value = values.get(key);
        return value === undefined ? pending("nobody has set it") : encode({ found: true }, value);
      },
      "cluster.peek": (body) => {
        const value = values.get(decode(methods.peek.call, body).head.key);
        return encode({ found: value !== undefined }, value);
      },
      "cluster.delete": once((body) => {
        values.delete(decode(methods.delete.call, body).head.key);
        return encode({});
      }),
      "cluster.open": once((body) => {
        const { key, items } = decode(methods.open.call, body).head;
        leases.open(key, items);
        return encode({});
      }),
      "cluster.next": once(async (body, { client, signal }) => {
        const { key, holdMs } = decode(methods.next.call, body).head;
        const member = members.of(client, `lease ${JSON.stringify(key)}`);
        await this.#changes.wait(() => leases.available(key), holdMs, signal);
        if (signal.aborted || member.state !== "alive") return pending("the caller has gone");
        const unit = leases.next(key, member);
        if (unit === undefined) return pending(leases.missing(key));
        return encode(unit === "finished" ? { finished: true } : unit);
      }),
      "cluster.done": once((body, { client }) => {
        const { key, index } = decode(methods.done.call, body).head;
        leases.done(key, index, members.of(client, `lease ${JSON.stringify(key)}`));
        this.#changes.notify();
        return encode({});
      }),
      "cluster.note": once((body, { client }) => {
        const { key, index, note } = decode(methods.note.call, body).head;
        leases.note(key, index, note, members.of(client, `lease ${JSON.stringify(key)}`));
        return encode({});
      }),
      "cluster.report": (body, { client }) => {
        members.report(members.of(client, "report"), decode(methods.report.call, body).head);
        return encode({});
      },
    };
  }
}
