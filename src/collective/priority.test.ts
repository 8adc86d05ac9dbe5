// Communication threads of a network go before others where the system allows it; where not, nothing changes.
import { readdirSync, readFileSync } from "node:fs";
import { getPriority } from "node:os";
import { afterEach, describe, expect, test } from "vitest";
import { Heap } from "../memory/index.ts";
import { Group } from "./group.ts";
import { listenOn } from "./sockets/address.ts";
import { libc } from "./sockets/libc.ts";
import { createThreadGroup } from "./threads.ts";

const CAP_SYS_NICE = 23n;
/** Of `/proc/PID/stat`, counted behind the name. */
const NICE = 16;
const open: Group[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((group) => group.close()));
});

/** Nice values of this process's communication threads. */
function priorities(): number[] {
  const folder = "/proc/self/task";
  return readdirSync(folder)
    .filter((thread) => readFileSync(`${folder}/${thread}/comm`, "utf8").trim() === "collectives")
    .map((thread) => Number(readFileSync(`${folder}/${thread}/stat`, "utf8").split(") ")[1]!.split(" ")[NICE]));
}

function freeAddress(): string {
  const { fd, address } = listenOn("tcp://127.0.0.1:0");
  libc().close(fd);
  return address;
}

describe.runIf(process.platform === "linux")("communication threads", () => {
  test("go first between machines alone", async () => {
    const heap = Heap.create({ maxBytes: 2 ** 26 });
    const addresses = [freeAddress(), freeAddress()];
    const own = getPriority();
    const may =
      (BigInt(`0x${/CapEff:\s*(\w+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]}`) >> CAP_SYS_NICE) & 1n;
    const groupOf = (transport: Parameters<typeof Group.open>[0]["transport"]): Promise<Group[]> =>
      Promise.all([0, 1].map((rank) => Group.open({ rank, size: 2, heap, transport })));
    open.push(...(await groupOf({ kind: "threads", group: createThreadGroup(heap, 2) })));
    expect(priorities()).toEqual([own, own]);
    open.push(...(await groupOf({ kind: "tcp", addresses })));
    const first = may === 1n ? -10 : own;
    expect(priorities().sort((a, b) => b - a)).toEqual([own, own, first, first]);
    expect(getPriority()).toBe(own);
  });
});
