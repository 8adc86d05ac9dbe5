// Named barriers that can be used again and again: a generation ends when as many members have come as it takes.
import { RpcError } from "../net/index.ts";
import type { MemberRecord } from "./membership.ts";

/** Beyond it, names whose barriers have long been passed are forgotten. */
const KEPT_NAMES = 100_000;

interface Barrier {
  generation: number;
  count: number;
  readonly arrived: Set<MemberRecord>;
}

export class Barriers {
  readonly #barriers = new Map<string, Barrier>();

  /**
   * The generation in which the member waits from now on.
   * @throws RpcError `refused` when others wait for another count, or the member waits there already
   */
  arrive(name: string, count: number, member: MemberRecord): number {
    const barrier = this.#barrier(name, count);
    if (barrier.arrived.has(member)) {
      throw new RpcError("refused", `barrier ${JSON.stringify(name)}: ${member.name} is already waiting there`);
    }
    if (barrier.arrived.size > 0 && barrier.count !== count) {
      throw new RpcError(
        "refused",
        `barrier ${JSON.stringify(name)}: ${member.name} waits for ${count} members, but others for ${barrier.count}`,
      );
    }
    const { generation } = barrier;
    barrier.count = count;
    this.#add(name, barrier, member);
    return generation;
  }

  /**
   * Whether a generation has ended. A member that was held for dead and taken out is put back.
   */
  passed(name: string, generation: number, member: MemberRecord): boolean {
    const barrier = this.#barriers.get(name);
    // Only barriers that were passed are forgotten.
    if (barrier === undefined || barrier.generation > generation) return true;
    this.#add(name, barrier, member);
    return barrier.generation > generation;
  }

  /** The member no longer waits in this generation. */
  withdraw(name: string, generation: number, member: MemberRecord): void {
    const barrier = this.#barriers.get(name);
    if (barrier?.generation === generation) barrier.arrived.delete(member);
  }

  /** How many of how many have come. */
  missing(name: string): string {
    const { arrived, count } = this.#barriers.get(name) ?? { arrived: new Set<MemberRecord>(), count: 0 };
    const shown = [...arrived].slice(0, 10).map(({ role, rank }) => `${role} ${rank}`);
    return `${arrived.size} of ${count} came: ${shown.join(", ")}${arrived.size > 10 ? ", …" : ""}`;
  }

  /** A member no longer waits anywhere. */
  remove(member: MemberRecord): void {
    for (const { arrived } of this.#barriers.values()) arrived.delete(member);
  }

  #barrier(name: string, count: number): Barrier {
    let barrier = this.#barriers.get(name);
    if (barrier === undefined) {
      if (this.#barriers.size >= KEPT_NAMES) this.#forgetOldest();
      barrier = { generation: 0, count, arrived: new Set() };
      this.#barriers.set(name, barrier);
    }
    return barrier;
  }

  #add(name: string, barrier: Barrier, member: MemberRecord): void {
    barrier.arrived.add(member);
    if (barrier.arrived.size < barrier.count) return;
    barrier.generation++;
    barrier.arrived.clear();
    // At the end of the map, for which it counts as the youngest.
    this.#barriers.delete(name);
    this.#barriers.set(name, barrier);
  }

  #forgetOldest(): void {
    for (const [name, { arrived }] of this.#barriers) {
      if (arrived.size > 0) continue;
      this.#barriers.delete(name);
      return;
    }
    throw new RpcError("refused", `members wait at ${KEPT_NAMES} barriers of different names`);
  }
}
