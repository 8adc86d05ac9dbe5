// The machines of a job: lists and files of hosts, and which process runs where.
import { readFileSync } from "node:fs";
import type { Place, Role } from "../cluster/index.ts";
import { isLoopback } from "../net/index.ts";
import { LaunchError } from "./error.ts";

export interface Host {
  /** As ssh takes it: NAME or USER@NAME. */
  readonly name: string;
  /** Its share of the processes beside that of the others. */
  readonly slots: number;
}

/** Letters that neither a shell nor ssh reads as something else; no leading hyphen, which would be an option. */
const form = /^(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9_](?:[\w.:-]*[A-Za-z0-9_])?$/;

/** "a,b:4,user@c" @throws LaunchError that quotes the host */
export function parseHosts(text: string): Host[] {
  return text.split(",").map((item) => {
    const [, name = item, slots = "1"] = /^(.*?):(\d+)$/.exec(item.trim()) ?? [];
    return host(name.trim(), slots, `--hosts ${JSON.stringify(text)}`);
  });
}

/** One host a line, with `slots=4` or `:4` behind it as MPI has them; `#` begins a comment. */
export function readHostFile(path: string): Host[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new LaunchError(`--hostfile ${path}: cannot be read: ${(cause as NodeJS.ErrnoException).code}`, { cause });
  }
  const hosts = text.split("\n").flatMap((line, i) => {
    const words = line.replace(/#.*/, "").trim();
    if (words === "") return [];
    const [, name = words, slots = "1"] = /^(\S+?)(?:\s+slots\s*=\s*|:)(\d+)$/.exec(words) ?? [];
    return [host(name, slots, `${path}:${i + 1}`)];
  });
  if (hosts.length === 0) throw new LaunchError(`--hostfile ${path}: names no hosts`);
  return hosts;
}

function host(name: string, slots: string, where: string): Host {
  if (!form.test(name)) throw new LaunchError(`${where}: ${JSON.stringify(name)} is no host; write NAME or USER@NAME`);
  if (!(Number(slots) >= 1 && Number(slots) <= 100_000)) {
    throw new LaunchError(`${where}: ${name} has ${slots} slots; give 1 or more`);
  }
  return { name, slots: Number(slots) };
}

/** The name under which others reach it. */
export function addressOf({ name }: Host): string {
  return name.slice(name.indexOf("@") + 1);
}

/** Whether all hosts are this machine under addresses that no other reaches. */
export function allLoopback(hosts: readonly Host[]): boolean {
  return hosts.every((host) => isLoopback(addressOf(host)));
}

/**
 * The host of each rank of a role: consecutive ranks side by side, each host with its share.
 * @example placement(4, [{ name: "a", slots: 1 }, { name: "b", slots: 3 }]) // a b b b
 */
export function placement(count: number, hosts: readonly Host[]): Host[] {
  const slots = hosts.reduce((sum, host) => sum + host.slots, 0);
  const places: Host[] = [];
  let before = 0;
  for (const host of hosts) {
    before += host.slots;
    while (places.length < Math.round((count * before) / slots)) places.push(host);
  }
  return places;
}

/** How many processes of the role a host has, by place. */
export function processesOn(host: Host | undefined, role: Role, places: ReadonlyMap<Place, Host | undefined>): number {
  return [...places].filter(([place, at]) => place.role === role && at === host).length;
}
