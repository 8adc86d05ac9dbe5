// Lists of work that members share out: a unit is free, held by a member, or done; a member's death frees what it held.
import { RpcError } from "../net/index.ts";
import type { MemberRecord } from "./membership.ts";

/** Lists that are all done are forgotten beyond so many; their members have moved on. */
const KEPT_LISTS = 1000;

interface WorkList {
  readonly items: readonly string[];
  /** Indices that nobody holds, the next one last. */
  readonly free: number[];
  readonly held: Map<number, MemberRecord>;
  /** By whom. */
  readonly done: Map<number, MemberRecord>;
  readonly notes: Map<number, string>;
}

export interface LeasedUnit {
  readonly index: number;
  readonly item: string;
  readonly noted?: string;
}

export class Leases {
  readonly #lists = new Map<string, WorkList>();

  /** @throws RpcError `refused` when somebody gave another list under this key */
  open(key: string, items: readonly string[]): void {
    const list = this.#lists.get(key);
    if (list === undefined) {
      this.#forgetDone();
      const free = items.map((_, index) => items.length - 1 - index);
      this.#lists.set(key, { items, free, held: new Map(), done: new Map(), notes: new Map() });
      return;
    }
    const at = items.findIndex((item, i) => item !== list.items[i]);
    if (at < 0 && items.length === list.items.length) return;
    const difference =
      at < 0 || at >= list.items.length
        ? `${items.length} items instead of ${list.items.length}`
        : `item ${at} is ${JSON.stringify(items[at])} instead of ${JSON.stringify(list.items[at])}`;
    throw new RpcError("refused", `lease ${JSON.stringify(key)}: another member gave another list: ${difference}`);
  }

  /** A unit, "finished" when all are done, or undefined while others hold the last ones. */
  next(key: string, member: MemberRecord): LeasedUnit | "finished" | undefined {
    const list = this.#list(key);
    const index = list.free.pop();
    if (index === undefined) return list.done.size === list.items.length ? "finished" : undefined;
    list.held.set(index, member);
    const noted = list.notes.get(index);
    return { index, item: list.items[index]!, ...(noted !== undefined && { noted }) };
  }

  available(key: string): boolean {
    const list = this.#list(key);
    return list.free.length > 0 || list.done.size === list.items.length;
  }

  /** @throws RpcError `lost` when another member holds or has done it */
  done(key: string, index: number, member: MemberRecord): void {
    const list = this.#own(key, index, member);
    list.held.delete(index);
    list.notes.delete(index);
    list.done.set(index, member);
    const at = list.free.indexOf(index);
    if (at >= 0) list.free.splice(at, 1);
  }

  /** @throws RpcError `lost` */
  note(key: string, index: number, note: string, member: MemberRecord): void {
    this.#own(key, index, member).notes.set(index, note);
  }

  /** Who holds the units that are not done. */
  missing(key: string): string {
    const list = this.#list(key);
    const holders = [...new Set([...list.held.values()].map(({ role, rank }) => `${role} ${rank}`))];
    return `${list.items.length - list.done.size} of ${list.items.length} units are held by ${holders.join(", ")}`;
  }

  /** Frees what a member holds. */
  release(member: MemberRecord): void {
    for (const list of this.#lists.values()) {
      for (const [index, holder] of list.held) {
        if (holder !== member) continue;
        list.held.delete(index);
        list.free.push(index);
      }
    }
  }

  #list(key: string): WorkList {
    const list = this.#lists.get(key);
    if (list === undefined) throw new RpcError("refused", `there is no list of work ${JSON.stringify(key)}`);
    return list;
  }

  #own(key: string, index: number, member: MemberRecord): WorkList {
    const list = this.#list(key);
    const holder = list.held.get(index);
    const what = `unit ${index} of ${JSON.stringify(key)}`;
    if (index >= list.items.length) throw new RpcError("refused", `${what}: there are ${list.items.length}`);
    const doer = list.done.get(index);
    if (doer !== undefined && doer !== member) throw new RpcError("lost", `${what} was done by ${doer.name}`);
    // Nobody holds it: the member was held for dead for a while, and no other has taken it yet.
    if (holder !== undefined && holder !== member) {
      throw new RpcError("lost", `${what} went to ${holder.name}, because ${member.name} was held for dead`);
    }
    return list;
  }

  #forgetDone(): void {
    if (this.#lists.size < KEPT_LISTS) return;
    for (const [key, list] of this.#lists) {
      if (list.done.size < list.items.length) continue;
      this.#lists.delete(key);
      return;
    }
    throw new RpcError("refused", `${KEPT_LISTS} lists of work are open and not done`);
  }
}
