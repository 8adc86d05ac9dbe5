// Decides what happens when a process of the job ends: again, on without it, or the end of the job. Starts nothing itself.
import { Changes, formatDuration, formatTime, type Place, type Role } from "../cluster/index.ts";
import type { ProcessEnd, StopSignal } from "./processes.ts";

/** A process that lives shorter has a fault of its own, and is started again later and later. */
const QUICK_MS = 5000;
/** After so many quick ends in a row a server is given up. */
const MAX_QUICK = 3;
const FIRST_DELAY_MS = 200;
const MAX_DELAY_MS = 10_000;
/** The exit code of commands that were used wrongly: it would be the same again. */
const USED_WRONGLY = 2;

export interface ControlOptions {
  readonly workers: number;
  readonly servers: number;
  /** How often each worker that failed is started again. */
  readonly restart: number;
  /** The job goes on while so many workers have not failed. Default: all. */
  readonly minWorkers?: number;
  /** How often the scheduler had started the job before. */
  readonly attempt?: number;
  /** Interrupts of so short a time count as one: a scheduler sends its signal to every task. Default 0. */
  readonly echoMs?: number;
  /** Prints a line. */
  readonly say: (text: string) => void;
  readonly now?: () => number;
}

/** `running`: as meant. `stopping`: the workers are told to end. `closing`: the servers too. `over`: all have ended. */
export type Phase = "running" | "stopping" | "closing" | "over";

export type Decision =
  | { readonly kind: "restart"; readonly attempt: number; readonly delayMs: number }
  | { readonly kind: "stay down" };

export type ProcessState = "waiting" | "running" | "restarting" | "finished" | "failed";

export interface ProcessRecord extends Place {
  readonly state: ProcessState;
  readonly host: string;
  readonly pid: number | undefined;
  readonly attempt: number;
  /** Since when the state holds, in milliseconds of `Date.now()`. */
  readonly since: number;
}

export interface EndReport extends ProcessEnd {
  readonly attempt: number;
  /** Its last lines. */
  readonly tail: readonly string[];
}

interface Entry {
  readonly place: Place;
  state: ProcessState;
  host: string;
  pid: number | undefined;
  attempt: number;
  since: number;
  quick: number;
}

const nameOf = ({ place, pid, host }: Entry): string => `${place.role} ${place.rank} (pid ${pid ?? "none"} on ${host})`;

export class JobControl {
  readonly changes = new Changes();
  readonly #options: ControlOptions;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  #phase: Phase = "running";
  #exitCode: number | undefined;
  #signal: StopSignal = "SIGTERM";
  #interrupted = Number.NEGATIVE_INFINITY;

  constructor(options: ControlOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    for (const role of ["server", "worker"] as const) {
      const count = role === "server" ? options.servers : options.workers;
      for (let rank = 0; rank < count; rank++) {
        const state = { state: "waiting", host: "", pid: undefined, attempt: 0, since: this.#now(), quick: 0 } as const;
        this.#entries.set(`${role} ${rank}`, { place: { role, rank }, ...state });
      }
    }
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Of the job, once it is over. */
  get exitCode(): number {
    return this.#exitCode ?? 0;
  }

  processes(): ProcessRecord[] {
    return [...this.#entries.values()].map(({ place, quick: _, ...record }) => ({ ...place, ...record }));
  }

  /** How processes of the role are to be ended now, if at all. */
  stopSignal(role: Role): StopSignal | undefined {
    if (this.#phase === "running") return undefined;
    if (this.#signal === "SIGKILL" || role === "worker") return this.#signal;
    return this.#phase === "stopping" ? undefined : "SIGTERM";
  }

  started(place: Place, attempt: number, host: string, pid: number | undefined): void {
    const entry = this.#entry(place);
    Object.assign(entry, { state: "running", host, pid, attempt, since: this.#now() });
    if (attempt > (this.#options.attempt ?? 0)) {
      this.#options.say(`${nameOf(entry)} was started at ${formatTime(entry.since)}, attempt ${attempt}`);
    }
    this.changes.notify();
  }

  ended(place: Place, end: EndReport): Decision {
    const entry = this.#entry(place);
    // Who tells of an attempt that is over already was late.
    if (entry.state === "finished" || entry.state === "failed" || end.attempt < entry.attempt) {
      return { kind: "stay down" };
    }
    const now = this.#now();
    const ran = now - entry.since;
    entry.quick = ran < QUICK_MS ? entry.quick + 1 : 0;
    entry.since = now;
    const decision = this.#decide(entry, end, ran);
    this.#goOn();
    this.changes.notify();
    return decision;
  }

  /** SIGINT asks the workers to end; once more, and all are killed. */
  interrupt(signal: "SIGINT" | "SIGTERM", who: string): void {
    const now = this.#now();
    if (now - this.#interrupted < (this.#options.echoMs ?? 0)) return;
    this.#interrupted = now;
    if (this.#phase === "running") {
      this.#exitCode = signal === "SIGINT" ? 130 : 143;
      this.#stop(signal);
      this.#options.say(`${who}: ending the workers, once more kills all`);
    } else if (this.#phase !== "over") {
      this.#signal = "SIGKILL";
      this.#options.say(`${who}: killing ${processes(this.#running("worker") + this.#running("server"))}`);
    }
    this.#goOn();
    this.changes.notify();
  }

  #decide(entry: Entry, end: EndReport, ran: number): Decision {
    const { role } = entry.place;
    const down: Decision = { kind: "stay down" };
    if (this.#phase !== "running") {
      this.#endedOnDemand(entry, end);
      return down;
    }
    if (role === "worker" && end.code === 0) {
      entry.state = "finished";
      return down;
    }
    const what = `${nameOf(entry)} ${describeEnd(end)} at ${formatTime(entry.since)}, after ${formatDuration(ran)}`;
    const again = this.#mayRestart(entry, end);
    if (again) {
      entry.state = "restarting";
      const delayMs = entry.quick < 2 ? 0 : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (entry.quick - 2));
      const when = delayMs === 0 ? "" : ` in ${formatDuration(delayMs)}`;
      this.#options.say(`${what}; it is started again${when}`);
      return { kind: "restart", attempt: end.attempt + 1, delayMs };
    }
    entry.state = "failed";
    const left = this.#options.workers - this.#count("worker", "failed");
    if (role === "worker" && this.#options.minWorkers !== undefined && left >= this.#options.minWorkers) {
      this.#options.say(`${what}; the job goes on with ${left} workers`);
      return down;
    }
    this.#exitCode = exitCodeOf(end);
    const lines = end.tail.length === 0 ? "" : `; its last lines:\n${end.tail.map((line) => `  ${line}`).join("\n")}`;
    this.#options.say(`${what}${lines}`);
    const others = this.#running("worker") + this.#running("server");
    if (others > 0) this.#options.say(`ending ${processes(others, " other")}`);
    this.#stop("SIGTERM");
    return down;
  }

  #mayRestart(entry: Entry, end: EndReport): boolean {
    if (end.code === USED_WRONGLY || end.code === 127) return false;
    if (entry.place.role === "server") return entry.quick < MAX_QUICK;
    return end.attempt - (this.#options.attempt ?? 0) < this.#options.restart;
  }

  #endedOnDemand(entry: Entry, end: EndReport): void {
    const told = end.code === 0 || end.signal !== null || entry.place.role === "worker";
    entry.state = told ? "finished" : "failed";
    if (told) return;
    this.#options.say(`${nameOf(entry)} ${describeEnd(end)} while it was ended`);
    this.#exitCode ||= exitCodeOf(end);
  }

  #stop(signal: StopSignal): void {
    this.#phase = "stopping";
    this.#signal = signal;
  }

  /** From phase to phase, as far as the ends allow. */
  #goOn(): void {
    const workersLeft = this.#running("worker") > 0;
    if (!workersLeft && (this.#phase === "running" || this.#phase === "stopping")) this.#phase = "closing";
    if (this.#phase === "closing" && this.#running("server") === 0) this.#phase = "over";
  }

  /** Processes that have not ended for good. */
  #running(role: Role): number {
    const count = role === "worker" ? this.#options.workers : this.#options.servers;
    return count - this.#count(role, "finished") - this.#count(role, "failed");
  }

  #count(role: Role, state: ProcessState): number {
    return [...this.#entries.values()].filter((entry) => entry.place.role === role && entry.state === state).length;
  }

  #entry({ role, rank }: Place): Entry {
    const entry = this.#entries.get(`${role} ${rank}`);
    if (entry === undefined) throw new Error(`the job has no ${role} ${rank}`);
    return entry;
  }
}

export function describeEnd({ code, signal, error }: ProcessEnd): string {
  if (error !== undefined) return `failed: ${error}`;
  return signal === null ? `ended with code ${code}` : `was killed by ${signal}`;
}

const processes = (count: number, which = ""): string => `${count}${which} process${count === 1 ? "" : "es"}`;

/** As a shell has it: 128 and the number of the signal. */
function exitCodeOf({ code, signal }: ProcessEnd): number {
  const numbers: Readonly<Record<string, number>> = {
    SIGHUP: 1,
    SIGINT: 2,
    SIGABRT: 6,
    SIGKILL: 9,
    SIGSEGV: 11,
    SIGTERM: 15,
  };
  return signal === null ? code || 1 : 128 + (numbers[signal] ?? 0);
}
