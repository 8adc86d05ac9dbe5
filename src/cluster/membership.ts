// Who is in the job: joins, ends, deaths and returns, and the list of what happened.
import { RpcError } from "../net/index.ts";
import { formatDuration, formatTime } from "./format.ts";
import type { MemberEvent, MemberInfo, MemberState, Report, Role } from "./types.ts";

/** Older events are forgotten; who asks for them gets what is left. */
const KEPT_EVENTS = 4096;

export interface Place {
  readonly role: Role;
  readonly rank: number;
}

export interface Joining extends Place {
  readonly addresses: readonly string[];
  readonly attempt: number;
  readonly host: string;
  readonly pid: number;
}

/** A process that has joined, for as long as nobody took its place. */
export class MemberRecord implements Place {
  readonly joining: Joining;
  readonly client: bigint;
  readonly joined: number;
  state: MemberState = "alive";
  since: number;
  reason: string | undefined;
  report: Report = {};
  /** When the step last rose; undefined without steps. */
  progressed: number | undefined;
  /** For how long it had stood still when this was last told. */
  toldIdleMs = 0;

  constructor(joining: Joining, client: bigint, now: number) {
    this.joining = joining;
    this.client = client;
    this.joined = now;
    this.since = now;
  }

  get role(): Role {
    return this.joining.role;
  }

  get rank(): number {
    return this.joining.rank;
  }

  get name(): string {
    return `${this.role} ${this.rank} (pid ${this.joining.pid} on ${this.joining.host})`;
  }

  info(now: number): MemberInfo {
    const { state, since, reason, report, progressed } = this;
    return {
      ...this.joining,
      state,
      since,
      ...(reason !== undefined && { reason }),
      report,
      ...(progressed !== undefined && { idleMs: now - progressed }),
    };
  }
}

export interface MembershipOptions {
  readonly workers: number;
  readonly servers: number;
  readonly now: () => number;
  readonly onEvent: (event: MemberEvent) => void;
  /** A member no longer works on what it had taken. */
  readonly onGone: (member: MemberRecord) => void;
}

export class MemberList {
  readonly #options: MembershipOptions;
  readonly #places = new Map<string, MemberRecord>();
  readonly #clients = new Map<bigint, MemberRecord>();
  #events: MemberEvent[] = [];
  /** The number of the first event that is kept. */
  #first = 0;

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  /** @throws RpcError `refused`: no such place, or somebody alive has it */
  join(client: bigint, joining: Joining): MemberRecord {
    const { workers, servers } = this.#options;
    const count = joining.role === "worker" ? workers : servers;
    const who = `${joining.role} ${joining.rank}`;
    if (joining.rank >= count) {
      throw new RpcError("refused", `${who} cannot join: the job has ${count} ${joining.role}s, ranks start at 0`);
    }
    const old = this.#places.get(who);
    const known = this.#clients.get(client);
    if (known !== undefined && known !== old) {
      throw new RpcError("refused", `${known.name} cannot join as ${who} too`);
    }
    if (known?.state === "alive") throw new RpcError("refused", `${known.name} has already joined`);
    if (old !== undefined && old.client !== client) {
      if (old.joining.attempt > joining.attempt) {
        throw new RpcError(
          "refused",
          `${who} cannot join as attempt ${joining.attempt}: attempt ${old.joining.attempt} has already joined`,
        );
      }
      if (old.state === "alive" && old.joining.attempt === joining.attempt) {
        throw new RpcError("refused", `${who} cannot join: ${old.name} has this place and is alive`);
      }
      if (old.state === "alive") this.#end(old, "dead", `attempt ${joining.attempt} took its place`);
    }
    const member = new MemberRecord(joining, client, this.#options.now());
    if (old !== undefined) this.#clients.delete(old.client);
    this.#places.set(who, member);
    this.#clients.set(client, member);
    const times = joining.attempt === 0 ? "" : `, attempt ${joining.attempt}`;
    this.#tell("joined", member, `${member.name} joined at ${formatTime(member.since)}${times}`);
    return member;
  }

  /** @throws RpcError `refused` when the client has not joined */
  of(client: bigint, what: string): MemberRecord {
    const member = this.#clients.get(client);
    if (member === undefined) throw new RpcError("refused", `${what}: this process has not joined; call join() first`);
    return member;
  }

  find(client: bigint): MemberRecord | undefined {
    return this.#clients.get(client);
  }

  at({ role, rank }: Place): MemberRecord | undefined {
    return this.#places.get(`${role} ${rank}`);
  }

  leave(member: MemberRecord): void {
    if (member.state === "alive") this.#end(member, "left", undefined);
  }

  died(member: MemberRecord, reason: string): void {
    if (member.state === "alive") this.#end(member, "dead", reason);
  }

  /** A member that was held for dead speaks again, and nobody has taken its place. */
  returned(member: MemberRecord): void {
    if (member.state !== "dead" || this.at(member) !== member) return;
    member.state = "alive";
    member.since = this.#options.now();
    member.reason = undefined;
    this.#tell("joined", member, `${member.name} is back at ${formatTime(member.since)}`);
  }

  report(member: MemberRecord, report: Report): void {
    if (report.step !== undefined && report.step !== member.report.step) {
      member.progressed = this.#options.now();
      member.toldIdleMs = 0;
    }
    member.report = report;
  }

  /**
   * Names workers whose step has not risen for `stallMs`, then for twice as long and so on, while another's has or another
   * waits for them.
   */
  tellStalled(stallMs: number): void {
    const now = this.#options.now();
    const idleOf = (member: MemberRecord): number => now - (member.progressed ?? now);
    const working = this.alive.filter(({ role, progressed }) => role === "worker" && progressed !== undefined);
    const waiting = working.find(({ report }) => report.waitsIn !== undefined);
    for (const member of working) {
      const { step, activity, waitsIn } = member.report;
      const idle = idleOf(member);
      if (waitsIn !== undefined || idle < Math.max(stallMs, 2 * member.toldIdleMs)) continue;
      const ahead = working.some((other) => idleOf(other) < idle / 2);
      if (!ahead && waiting === undefined) continue;
      member.toldIdleMs = idle;
      const at = activity === undefined ? "" : ` at ${activity}`;
      const held = waiting === undefined ? "" : `; worker ${waiting.rank} waits in ${waiting.report.waitsIn}`;
      this.#tell("stalled", member, `${member.name} is ${formatDuration(idle)} behind${at}, in step ${step}${held}`);
    }
  }

  get alive(): MemberRecord[] {
    return [...this.#places.values()].filter(({ state }) => state === "alive");
  }

  dead(role: Role): MemberRecord | undefined {
    return [...this.#places.values()].find((member) => member.role === role && member.state === "dead");
  }

  list(): MemberInfo[] {
    const now = this.#options.now();
    const sorted = [...this.#places.values()].sort((a, b) =>
      a.role === b.role ? a.rank - b.rank : a.role === "server" ? -1 : 1,
    );
    return sorted.map((member) => member.info(now));
  }

  /** By rank, or which are missing. */
  complete(role: Role, count: number): MemberInfo[] | string {
    const now = this.#options.now();
    const members = Array.from({ length: count }, (_, rank) => this.at({ role, rank }));
    const missing = members.flatMap((member, rank) => (member?.state === "alive" ? [] : [rank]));
    if (missing.length === 0) return members.map((member) => member!.info(now));
    const shown = missing.slice(0, 10).join(", ") + (missing.length > 10 ? ", …" : "");
    const noun = missing.length === 1 ? role : `${role}s`;
    return `${count - missing.length} of ${count} ${role}s are there; missing: ${noun} ${shown}`;
  }

  /** The number that the next event gets. */
  get nextEvent(): number {
    return this.#first + this.#events.length;
  }

  eventsSince(number: number): readonly MemberEvent[] {
    return this.#events.slice(Math.max(0, number - this.#first));
  }

  #end(member: MemberRecord, state: "left" | "dead", reason: string | undefined): void {
    const now = this.#options.now();
    member.state = state;
    member.since = now;
    member.reason = reason;
    const after = `at ${formatTime(now)}, ${formatDuration(now - member.joined)} after it joined`;
    if (state === "left") this.#tell("left", member, `${member.name} left ${after}`);
    else this.#tell("died", member, `${member.name} died ${after}: ${reason}`);
    this.#options.onGone(member);
  }

  #tell(kind: MemberEvent["kind"], member: MemberRecord, text: string): void {
    const event = { kind, member: member.info(this.#options.now()), text };
    this.#events.push(event);
    if (this.#events.length > KEPT_EVENTS) {
      this.#events = this.#events.slice(KEPT_EVENTS / 2);
      this.#first += KEPT_EVENTS / 2;
    }
    this.#options.onEvent(event);
  }
}
