// What processes of a job tell each other about themselves: roles, members, events, reports.

/** Workers run the script; servers hold partitions of tables and parameters. */
export type Role = "worker" | "server";

/** Numbers and short texts for `flotilla status`. The named ones have columns of their own. */
export interface Report {
  /** Steps done so far. */
  readonly step?: number;
  readonly samples?: number;
  readonly samplesPerSecond?: number;
  /** What the process does now, as "push table ctr": a stall names it. */
  readonly activity?: string;
  /** What it waits in until others do their part, as "all-reduce bucket 2": whoever waits so is not the one that stalls. */
  readonly waitsIn?: string;
  readonly [key: string]: number | string | undefined;
}

export interface JoinOptions {
  /** Where others reach this process, as net takes addresses; a server gives one for each partition. */
  readonly addresses?: readonly string[];
  /** Default: those of the world. */
  readonly role?: Role;
  readonly rank?: number;
  readonly attempt?: number;
}

export type MemberState = "alive" | "left" | "dead";

export interface MemberInfo {
  readonly role: Role;
  readonly rank: number;
  readonly addresses: readonly string[];
  /** How often the process was started again before. */
  readonly attempt: number;
  readonly host: string;
  readonly pid: number;
  readonly state: MemberState;
  /** Since when the state holds, in milliseconds of `Date.now()` at the coordinator. */
  readonly since: number;
  /** Why it is dead. */
  readonly reason?: string;
  readonly report: Report;
  /** Milliseconds since the step of the report last rose; undefined without steps. */
  readonly idleMs?: number;
}

export interface MemberEvent {
  /** `stalled`: its step has not risen for long, while others went on. */
  readonly kind: "joined" | "left" | "died" | "stalled";
  readonly member: MemberInfo;
  /** One line that names who, what and since when: "worker 2 (pid 71 on b) died at 10:42:07, 41 s after it joined: …". */
  readonly text: string;
}

export interface WaitOptions {
  /** How long to wait; the error then names who or what is missing. Default 180 000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface BarrierOptions extends WaitOptions {
  /**
   * What a dead member of the caller's role means, now or while waiting: "fail" ends the wait with an error that names it
   * (default), "wait" waits for its return.
   */
  readonly whenDead?: "fail" | "wait";
}

export interface SetOptions {
  /** Leave a value that is there already. */
  readonly ifAbsent?: boolean;
}

/** A unit of work that this member holds until it is done, or until this member dies. */
export interface WorkUnit {
  /** Its place in the list of items. */
  readonly index: number;
  readonly item: string;
  /** What an earlier holder noted by `progress` before it died. */
  readonly noted: string | undefined;
  /** Leaves a note for the next holder, should this one die. */
  progress(note: string): Promise<void>;
  /** The unit is finished for ever. @throws RpcError `lost` when it went to another, as this member was held for dead */
  done(): Promise<void>;
}

export interface WorkQueue {
  /**
   * The next unit that nobody holds. Waits while others hold the last ones, since these come back when their holder dies;
   * undefined when all are done.
   */
  next(options?: { readonly signal?: AbortSignal }): Promise<WorkUnit | undefined>;
}

/** What a process can do as a member of the job; `Member` is the one over the network. */
export interface Membership {
  /** Takes the place of the world (or of the options) and tells all others. */
  join(options?: JoinOptions): Promise<void>;
  /** Waits until ranks 0 to count − 1 of the role are alive; by rank. */
  members(role: Role, count: number, options?: WaitOptions): Promise<MemberInfo[]>;
  /** All that is known now, also the dead. */
  list(): Promise<MemberInfo[]>;
  /** Calls back for every change from now on; returns what ends it. */
  watch(callback: (event: MemberEvent) => void): () => void;
  /** Returns when `count` members are at the barrier of this name; the name may be used again. */
  barrier(name: string, count: number, options?: BarrierOptions): Promise<void>;
  /** False when `ifAbsent` found a value. */
  set(key: string, value: Uint8Array | string, options?: SetOptions): Promise<boolean>;
  /** Waits until the key has a value. */
  get(key: string, options?: WaitOptions): Promise<Uint8Array>;
  /** The value now, if there is one. */
  peek(key: string): Promise<Uint8Array | undefined>;
  delete(key: string): Promise<void>;
  /** A list of work that members share out among themselves; all give the same list under the same key. */
  lease(key: string, items: readonly string[]): Promise<WorkQueue>;
  /** For `flotilla status`: returns at once, and the newest report counts. */
  report(values: Report): void;
  /** Ends in order: the others see `left`, not `died`. A process that runs the coordinator waits for them to end. */
  leave(): Promise<void>;
}
