// Who trains together when workers die and come back: those that are left agree on a new roster by the coordinator, and take
// in who has come back when an epoch begins.
import { setTimeout as sleep } from "node:timers/promises";
import type { Membership } from "../../cluster/index.ts";
import type { Roster, Workers } from "../workers.ts";

/** How far a worker's training has come: the first number counts most. */
export type Position = readonly number[];

/** Training cannot go on with those that are left. */
export class ElasticError extends Error {
  override readonly name = "ElasticError";
}

/** A roster and whose weights count in it. */
export interface Formed extends Roster {
  /** Its place in the roster. */
  readonly root: number;
}

interface Invitation {
  readonly formed: Formed;
  /** Which call of `fit` it is for. */
  readonly fits: number;
}

const LOOK_MS = 50;
/** How long a worker that lives may take to notice that the group has ended: it may be evaluating. */
const AWAIT_MS = 600_000;
const WAIT_MS = 24 * 3600 * 1000;

const json = (bytes: Uint8Array): unknown => JSON.parse(Buffer.from(bytes).toString());

function isFurther(a: Position, b: Position): boolean {
  const i = a.findIndex((value, place) => value !== b[place]);
  return i >= 0 && a[i]! > b[i]!;
}

export class Regroup {
  readonly #workers: Workers;
  readonly #member: Membership;
  readonly #min: number;
  #formed: Formed | undefined;
  #fits = 1;

  /** @param workers of a job of several */
  constructor(workers: Workers, { min }: { readonly min: number }) {
    this.#workers = workers;
    this.#member = workers.member!;
    this.#min = min;
  }

  /** The place in the roster of the worker whose state counts. */
  get root(): number {
    return this.#formed?.root ?? 0;
  }

  /** The call of `fit` that this worker, which has come back, was taken in for. */
  get fits(): number {
    return this.#fits;
  }

  /** Takes this worker's place: among all at the start; if it has come back, when the others begin an epoch. */
  async enter(): Promise<void> {
    const { rank, attempt } = this.#workers.own;
    const all = this.#workers.roster.lives.map((life) => life.rank);
    if (await this.#member.set(`elastic/0/${rank}`, String(attempt), { ifAbsent: true })) {
      const lives = await Promise.all(
        all.map(async (other) => ({
          rank: other,
          attempt: Number(json(await this.#member.get(`elastic/0/${other}`))),
        })),
      );
      this.#take({ generation: 0, lives, root: 0 });
      return;
    }
    await this.#member.set(`elastic/waiting/${rank}`, String(attempt));
    const { formed, fits } = await this.#invitation(`elastic/invited/${rank}/${attempt}`);
    this.#fits = fits;
    this.#take(formed);
  }

  /**
   * After a death: the roster of those that are left. All of them call it.
   * @throws Error when they are too few
   */
  async reform(position: Position): Promise<void> {
    const { own, roster } = this.#workers;
    const generation = roster.generation + 1;
    const at = `elastic/${generation}`;
    await this.#member.set(`${at}/${own.rank}`, JSON.stringify(position));
    for (const deadline = performance.now() + AWAIT_MS; ; await sleep(LOOK_MS)) {
      const list = await this.#member.list();
      const alive = roster.lives.filter(({ rank, attempt }) =>
        list.some((m) => m.role === "worker" && m.rank === rank && m.attempt === attempt && m.state === "alive"),
      );
      const positions = await Promise.all(alive.map(({ rank }) => this.#member.peek(`${at}/${rank}`)));
      const missing = alive.filter((_, i) => positions[i] === undefined);
      if (missing.length > 0) {
        if (performance.now() < deadline) continue;
        throw new ElasticError(`elastic: worker ${missing[0]!.rank} lives, but does not come to the new group`);
      }
      const known = positions.map((bytes) => json(bytes!) as Position);
      const root = known.reduce((best, there, i) => (isFurther(there, known[best]!) ? i : best), 0);
      const formed: Formed = { generation, lives: alive, root };
      await this.#member.set(`${at}/roster`, JSON.stringify(formed), { ifAbsent: true });
      break;
    }
    const formed = json(await this.#member.get(`${at}/roster`)) as Formed;
    if (!formed.lives.some(({ rank }) => rank === own.rank)) {
      throw new ElasticError(`elastic: the others held worker ${own.rank} for dead and went on without it`);
    }
    if (formed.lives.length < this.#min) {
      const left = formed.lives.length === 1 ? "1 worker is left" : `${formed.lives.length} workers are left`;
      throw new ElasticError(`elastic: ${left}, and min is ${this.#min}`);
    }
    this.#take(formed);
  }

  /**
   * Where an epoch begins, and at the end: takes in who has come back. True when the roster has changed.
   * @param name the same on all, another one each time
   * @throws WorkerDiedError
   */
  async takeIn(name: string, fits: number): Promise<boolean> {
    const { rank, roster } = this.#workers;
    const key = `elastic/${roster.generation}/begin/${name}`;
    if (rank === 0) {
      const back = await this.#returned(roster);
      const lives = [...roster.lives, ...back].sort((a, b) => a.rank - b.rank);
      const root = lives.findIndex((life) => life.rank === roster.lives[0]!.rank);
      const next: Formed =
        back.length === 0 ? { ...roster, root: this.root } : { generation: roster.generation + 1, lives, root };
      await this.#member.set(key, JSON.stringify(next));
    }
    const next = json(await this.#workers.valueOf(key)) as Formed;
    if (next.generation === roster.generation) return false;
    const invitation: Invitation = { formed: next, fits };
    for (const life of next.lives) {
      if (roster.lives.some((old) => old.rank === life.rank)) continue;
      const invited = `elastic/invited/${life.rank}/${life.attempt}`;
      await this.#member.set(invited, JSON.stringify(invitation), { ifAbsent: true });
    }
    this.#take(next);
    return true;
  }

  #take(formed: Formed): void {
    this.#formed = formed;
    this.#workers.take({ generation: formed.generation, lives: formed.lives });
  }

  /** Workers that were started again and wait. */
  async #returned({ lives }: Roster): Promise<Roster["lives"]> {
    const list = await this.#member.list();
    const others = list.filter(
      ({ role, rank, state }) => role === "worker" && state === "alive" && !lives.some((life) => life.rank === rank),
    );
    const waiting = await Promise.all(others.map(({ rank }) => this.#member.peek(`elastic/waiting/${rank}`)));
    return others.flatMap(({ rank, attempt }, i) => {
      const ready = waiting[i] !== undefined && json(waiting[i]) === attempt;
      return ready ? [{ rank, attempt }] : [];
    });
  }

  async #invitation(key: string): Promise<Invitation> {
    const own = this.#workers.own.rank;
    for (const deadline = performance.now() + WAIT_MS; performance.now() < deadline; ) {
      const value = await this.#member.get(key, { timeoutMs: 1000 }).catch(() => undefined);
      if (value !== undefined) return json(value) as Invitation;
      const list = await this.#member.list();
      const others = list.some(({ role, rank, state }) => role === "worker" && rank !== own && state === "alive");
      if (!others && (await this.#member.peek(key)) === undefined) break;
    }
    throw new ElasticError(`elastic: worker ${own} came back when the others had ended`);
  }
}
