// Hosts with slow links between them on this one machine: a network namespace for each host, a bridge for each group of
// hosts, and limits of rate at both ends of every link. Needs root and iproute2.
import { execFileSync, spawnSync } from "node:child_process";

export interface SlowNetworkOptions {
  readonly hosts: number;
  /** Of each host's link, as tc writes it: "400mbit". */
  readonly rate: string;
  /** Hosts of a group; default: all are one. */
  readonly groupSize?: number;
  /** Of the link between two groups. */
  readonly rateBetween?: string;
}

export interface SlowHost {
  /** In front of a command that is to run on the host. */
  readonly command: readonly string[];
  readonly ip: string;
}

const PREFIX = "flbench";
const LIMIT = ["burst", "128kb", "latency", "100ms"];

const run = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

/** Why there can be no such network here; undefined where there can. */
export function slowNetworkProblem(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "network namespaces need Linux and root";
  try {
    run("ip", "-V");
    run("tc", "-V");
    run("ip", "netns", "add", `${PREFIX}probe`);
    run("ip", "netns", "del", `${PREFIX}probe`);
    return undefined;
  } catch (error) {
    return `network namespaces cannot be made (apt-get install iproute2): ${(error as Error).message.split("\n")[0]}`;
  }
}

/** Runs `use` with the hosts of a network, which is taken down afterwards. */
export async function withSlowNetwork<T>(
  options: SlowNetworkOptions,
  use: (hosts: SlowHost[]) => Promise<T>,
): Promise<T> {
  takeDown();
  try {
    return await use(bringUp(options));
  } finally {
    takeDown();
  }
}

function bringUp({ hosts, rate, groupSize = hosts, rateBetween = rate }: SlowNetworkOptions): SlowHost[] {
  const bridges = `${PREFIX}br`;
  run("ip", "netns", "add", bridges);
  const limit = (space: string, device: string, to: string): void => {
    run("tc", "-n", space, "qdisc", "add", "dev", device, "root", "tbf", "rate", to, ...LIMIT);
  };
  const groups = Math.ceil(hosts / groupSize);
  for (let group = 0; group < groups; group++) {
    run("ip", "-n", bridges, "link", "add", `br${group}`, "type", "bridge");
    run("ip", "-n", bridges, "link", "set", `br${group}`, "up");
    if (group === 0) continue;
    const [near, far] = [`u${group}`, `d${group}`];
    run("ip", "-n", bridges, "link", "add", near, "type", "veth", "peer", "name", far);
    for (const [device, bridge] of [
      [near, "br0"],
      [far, `br${group}`],
    ] as const) {
      run("ip", "-n", bridges, "link", "set", device, "master", bridge, "up");
      limit(bridges, device, rateBetween);
    }
  }
  return Array.from({ length: hosts }, (_, i) => {
    const [space, ip] = [`${PREFIX}${i}`, `10.83.0.${i + 1}`];
    run("ip", "netns", "add", space);
    run("ip", "link", "add", "e0", "netns", space, "type", "veth", "peer", "name", `p${i}`, "netns", bridges);
    run("ip", "-n", bridges, "link", "set", `p${i}`, "master", `br${Math.floor(i / groupSize)}`, "up");
    run("ip", "-n", space, "addr", "add", `${ip}/24`, "dev", "e0");
    run("ip", "-n", space, "link", "set", "lo", "up");
    run("ip", "-n", space, "link", "set", "e0", "up");
    limit(space, "e0", rate);
    limit(bridges, `p${i}`, rate);
    doNotPace(space);
    return { command: ["nsenter", `--net=/run/netns/${space}`], ip };
  });
}

/**
 * TCP as most hosts have it. BBR sends by a timer for each packet, which where several hosts share a core costs a third more
 * processor time than the bytes themselves.
 */
function doNotPace(space: string): void {
  const set = (name: string): boolean => {
    const setting = `net.ipv4.tcp_congestion_control=${name}`;
    return spawnSync("ip", ["netns", "exec", space, "sysctl", "-qw", setting]).status === 0;
  };
  // A namespace may be refused what its system does not allow to everyone; Reno is never refused.
  if (!set("cubic")) set("reno");
}

function takeDown(): void {
  const names = run("ip", "netns", "list")
    .split("\n")
    .map((line) => line.split(" ")[0]!);
  for (const name of names.filter((each) => each.startsWith(PREFIX))) run("ip", "netns", "del", name);
}
