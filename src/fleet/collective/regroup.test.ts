// Who trains together after deaths and returns: real members of a real coordinator, without training.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { Coordinator, Member } from "../../cluster/index.ts";
import { parseStrategy } from "../strategy.ts";
import { Workers } from "../workers.ts";
import { Regroup } from "./regroup.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Rank {
  readonly member: Member;
  readonly workers: Workers;
  readonly regroup: Regroup;
}

async function job(count: number): Promise<(rank: number, attempt?: number, min?: number) => Promise<Rank>> {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-regroup-"));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const coordinator = await Coordinator.start({ address: `unix://${folder}/c`, workers: count, servers: 0 });
  cleanups.push(() => coordinator.close());
  return async (rank, attempt = 0, min = 1) => {
    const place = { job: "test", role: "worker", rank, workers: count, servers: 0, attempt } as const;
    const member = await Member.connect({ ...place, coordinator: coordinator.address });
    await member.join();
    cleanups.push(() => member.close());
    const workers = new Workers({ rank, workers: count, attempt, member, bound: true });
    return { member, workers, regroup: new Regroup(workers, { min }) };
  };
}

const placeOf = ({ workers: { rank, workers, roster } }: Rank): [number, number, number] => [
  rank,
  workers,
  roster.generation,
];

test("those that are left take new ranks, and the state of the one that had come furthest", async () => {
  const start = await job(4);
  const ranks = await Promise.all([0, 1, 2, 3].map((rank) => start(rank)));
  await Promise.all(ranks.map(({ regroup }) => regroup.enter()));
  expect(ranks.map(placeOf)).toEqual([0, 1, 2, 3].map((rank) => [rank, 4, 0]));
  const [a, b, c, d] = ranks as [Rank, Rank, Rank, Rank];
  await b.member.close();
  await Promise.all([a.regroup.reform([0, 1, 9]), c.regroup.reform([0, 2, 0]), d.regroup.reform([0, 2, 0])]);
  expect([a, c, d].map(placeOf)).toEqual([0, 1, 2].map((rank) => [rank, 3, 1]));
  expect([a, c, d].map(({ regroup }) => regroup.root)).toEqual([1, 1, 1]);
});

test("a wait for one that dies ends with who, what and since when", async () => {
  const start = await job(2);
  const [a, b] = (await Promise.all([start(0), start(1)])) as [Rank, Rank];
  await Promise.all([a.regroup.enter(), b.regroup.enter()]);
  const waiting = Promise.all([
    expect(a.workers.valueOf("never")).rejects.toThrow(
      /^worker 1 \(pid \d+ on \S+\) died at [\d:]+, .* after it joined: /,
    ),
    expect(a.workers.meet("alone")).rejects.toThrow(/^worker 1 .* died/),
  ]);
  await b.member.close();
  await waiting;
});

test("who comes back is taken in when the others begin an epoch, and gets its place again", async () => {
  const start = await job(2);
  const [a, b] = (await Promise.all([start(0), start(1)])) as [Rank, Rank];
  await Promise.all([a.regroup.enter(), b.regroup.enter()]);
  expect(await Promise.all([a.regroup.takeIn("0", 1), b.regroup.takeIn("0", 1)])).toEqual([false, false]);
  await a.member.close();
  await b.regroup.reform([0, 0, 0]);
  expect(placeOf(b)).toEqual([0, 1, 1]);
  expect(await b.regroup.takeIn("1", 3)).toBe(false);
  const again = await start(0, 1);
  const entered = again.regroup.enter();
  let epoch = 2;
  await expect.poll(() => b.regroup.takeIn(String(epoch++), 3)).toBe(true);
  await entered;
  expect([again, b].map(placeOf)).toEqual([
    [0, 2, 2],
    [1, 2, 2],
  ]);
  expect([again, b].map(({ regroup }) => regroup.root)).toEqual([1, 1]);
  expect(again.regroup.fits).toBe(3);
});

test("too few are an error, as is to come back when the others have ended", async () => {
  const start = await job(2);
  const [a, b] = (await Promise.all([start(0, 0, 2), start(1, 0, 2)])) as [Rank, Rank];
  await Promise.all([a.regroup.enter(), b.regroup.enter()]);
  await b.member.close();
  await expect(a.regroup.reform([0])).rejects.toThrow("elastic: 1 worker is left, and min is 2");
  const again = await start(1, 1);
  await a.member.leave();
  await expect(again.regroup.enter()).rejects.toThrow("worker 1 came back when the others had ended");
});

test("what would be lost with a worker does not combine with elastic", () => {
  expect(() => parseStrategy({ mode: "sync", elastic: { min: 1 } })).toThrow(/elastic is for mode "collective"/);
  expect(() => parseStrategy({ mode: "collective", elastic: { min: 0 } })).toThrow(/elastic/);
});
