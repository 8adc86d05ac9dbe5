// Workers of a job that trains a dense model are killed: the others name them, and go on where they are to.
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { Coordinator, type CoordinatorOptions, environmentOf, type MemberEvent } from "../cluster/index.ts";
import { askStatus } from "../launch/inspect.ts";
import type { JobFile } from "../launch/jobs.ts";
import { Child } from "./testing.ts";
import { LaunchPlace } from "./testing-launch.ts";

const place = new LaunchPlace();
afterAll(() => place.dispose());

const library = fileURLToPath(new URL("../index.ts", import.meta.url));
const ROWS = 6000;
const EPOCHS = 3;
/** Long enough for a process to start again meanwhile. */
const MANY_EPOCHS = 8;
const script = place.write(
  "dense.ts",
  `
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { data, fleet, nn, optim } from ${JSON.stringify(library)};
const [min = "0", epochs = "${EPOCHS}", width = "8", hang = "-1"] = process.argv.slice(2);
const x = Float32Array.from({ length: ${ROWS} * 4 }, (_, i) => Math.sin(i * 12.9898));
const label = Float32Array.from({ length: ${ROWS} }, (_, i) => (x[4 * i]! + x[4 * i + 1]! > 0 ? 1 : 0));
const rows = data.tensors(
  { x: { data: x, shape: [${ROWS}, 4] }, label: { data: label, shape: [${ROWS}] } },
  { batch: 2, shuffle: 1 },
);
const model = {
  name: "dense",
  config: {},
  forward: ({ x, weight }, ctx) => {
    const hidden = [Number(width), Number(width)];
    return nn.linear(ctx, "out", nn.mlp(ctx, "deep", x, weight, { hidden, activation: "tanh" }), 1);
  },
};
const job = await fleet.init({ threads: 1, engine: "wasm", maxBytes: 2 ** 26 });
const elastic = min === "0" ? {} : { elastic: { min: Number(min) } };
const trainer = job.trainer(model, {
  optimizer: optim.adam({ lr: 0.003 }),
  strategy: { mode: "collective", ...elastic },
});
const { samples } = await trainer.fit(rows, {
  epochs: Number(epochs),
  validation: rows,
  progress: false,
  onRecord: (record) => {
    if (record.type !== "train") return;
    console.log("epoch " + record.epoch + " pid " + process.pid + " with " + job.worldSize);
    if (job.rank === Number(hang)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5000);
  },
});
const { auc } = await trainer.evaluate(rows);
const path = "weights-" + process.pid;
await trainer.exportWeights(path);
const digest = createHash("sha256").update(readFileSync(path)).digest("hex").slice(0, 8);
console.log(["done", job.rank, job.worldSize, samples, trainer.state.epoch, digest, auc > 0.9].join(" "));
await job.close();
`,
);

const env = { ...place.env, FLOTILLA_THREADS: "1" };
const launch = (...args: string[]): Child => place.startWith(env, "launch", "--threads", "1", ...args);

/** Processes of a job without a launcher. */
async function byHand(
  workers: number,
  args: readonly string[],
  options: Partial<CoordinatorOptions> = {},
): Promise<{ readonly coordinator: Coordinator; readonly ranks: readonly Child[] }> {
  const folder = mkdtempSync(join(place.path, "hand-"));
  const coordinator = await Coordinator.start({ address: `unix://${folder}/c`, workers, servers: 0, ...options });
  const ranks = Array.from({ length: workers }, (_, rank) => {
    const world = { job: "hand", role: "worker", rank, workers, servers: 0, attempt: 0 } as const;
    const variables = environmentOf({ ...world, coordinator: coordinator.address, folder });
    return new Child(args, place.path, { script: [script], env: { ...env, ...variables } });
  });
  return { coordinator, ranks };
}

/** The id that worker `rank` has printed while it was in an epoch. */
const pidIn = (child: Child, rank: number, epoch: number): number | undefined => {
  const [, pid] = new RegExp(`^W${rank} \\| epoch ${epoch} pid (\\d+)`, "m").exec(child.stdout) ?? [];
  return pid === undefined ? undefined : Number(pid);
};

interface Done {
  readonly rank: number;
  readonly workers: number;
  readonly samples: number;
  readonly epochs: number;
  readonly digest: string;
  readonly good: string;
}

const doneOf = (stdout: string): Done[] =>
  [...stdout.matchAll(/done (\d+) (\d+) (\d+) (\d+) (\w+) (\w+)/g)].map(
    ([, rank, workers, samples, epochs, digest, good]) => ({
      ...{ rank: Number(rank), workers: Number(workers), samples: Number(samples), epochs: Number(epochs) },
      ...{ digest: digest!, good: good! },
    }),
  );

// Each test starts several processes, which takes long where many run.
const options = { timeout: 120_000 };

it(
  "a rank that others wait for is named, and one that is killed, on all others, with its process",
  options,
  async () => {
    const told: string[] = [];
    const onEvent = ({ kind, text }: MemberEvent): unknown => kind === "stalled" && told.push(text);
    const settings = { stallMs: 1000, silenceMs: 30_000, onEvent };
    const { coordinator, ranks } = await byHand(3, ["0", String(MANY_EPOCHS), "8", "1"], settings);
    const stall = /^worker 1 \(pid \d+ on \S+\) is .* s behind.*, in step \d+; worker [02] waits in rows of the step$/;
    await ranks[2]!.until(() => told.some((text) => stall.test(text)));
    const { pid } = ranks[2]!.process;
    process.kill(pid!, "SIGKILL");
    for (const rank of [0, 1]) {
      const { code, stderr } = await ranks[rank]!.outcome;
      const died = `rank 2 died: .*; worker 2 \\(pid ${pid} on \\S+\\) died at [\\d:]+, .* after it joined`;
      expect(stderr).toMatch(new RegExp(`call \\d+ of rank .*${died}`));
      expect(code).toBe(1);
    }
    await coordinator.close();
  },
);

it("with elastic those that are left go on, and share what the dead one had left", options, async () => {
  const child = launch("--workers", "3", "--min-workers", "2", script, "2");
  await child.until(() => pidIn(child, 0, 0) !== undefined);
  process.kill(pidIn(child, 0, 0)!, "SIGKILL");
  const { code, stdout, stderr } = await child.outcome;
  expect(stderr).toMatch(/^flotilla: worker 0 .* was killed by SIGKILL .*; the job goes on with 2 workers$/m);
  expect(stderr).toMatch(/^W\d \| 2 of 3 workers go on: .*rank 0 died/m);
  expect(code).toBe(0);
  const done = doneOf(stdout);
  expect(
    done.map(({ rank, workers, epochs, good }) => ({ rank, workers, epochs, good })).sort((a, b) => a.rank - b.rank),
  ).toEqual([0, 1].map((rank) => ({ rank, workers: 2, epochs: EPOCHS, good: "true" })));
  expect(new Set(done.map(({ digest }) => digest)).size).toBe(1);
  // All rows but what the dead one had trained on before, a third of an epoch at most.
  const samples = done.reduce((sum, entry) => sum + entry.samples, 0);
  expect(samples).toBeLessThan(EPOCHS * ROWS);
  expect(samples).toBeGreaterThanOrEqual((EPOCHS - 1 / 3) * ROWS - 10);
});

it("workers show their speed, and one that is started again joins when the next epoch begins", options, async () => {
  const child = launch("--workers", "2", "--restart", "1", "--job", "return", script, "1", String(MANY_EPOCHS), "128");
  await child.until(() => pidIn(child, 1, 0) !== undefined);
  const file = JSON.parse(place.read("jobs/return.json")) as JobFile;
  const shown = async (): Promise<boolean[]> =>
    (await askStatus(file)).processes.map(
      ({ report, lag }) => report.step! > 0 && report.samplesPerSecond! > 0 && lag! >= 0,
    );
  await expect.poll(shown, { timeout: 20_000 }).toEqual([true, true]);
  process.kill(pidIn(child, 1, 0)!, "SIGKILL");
  const { code, stdout, stderr } = await child.outcome;
  expect(stderr).toMatch(/^W0 \| 1 of 2 workers go on: .*rank 1 died/m);
  expect(code).toBe(0);
  const done = doneOf(stdout);
  expect(
    done.map(({ rank, workers, epochs, good }) => ({ rank, workers, epochs, good })).sort((a, b) => a.rank - b.rank),
  ).toEqual([0, 1].map((rank) => ({ rank, workers: 2, epochs: MANY_EPOCHS, good: "true" })));
  expect(done[0]!.digest).toBe(done[1]!.digest);
});
