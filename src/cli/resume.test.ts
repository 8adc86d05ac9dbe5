// Interrupted and killed runs go on exactly where they were. Runs have more epochs than anyone would wait for, so that they
// are under way whenever they are stopped; what goes on then ends with the epoch that it was in.
import { afterAll, describe, expect, it } from "vitest";
import { numberedLines } from "../data/testing.ts";
import { Child, Workplace } from "./testing.ts";

const ROWS = 20_000;
const flags = [
  "--epochs",
  "10000",
  "--hidden",
  "32",
  "--dim",
  "4",
  "--batch",
  "128",
  "--threads",
  "2",
  "--engine",
  "wasm",
];
const place = new Workplace();
afterAll(() => place.dispose());
place.write("train.tsv", numberedLines(ROWS).join("\n"));

interface Training {
  readonly samples: number;
  readonly epoch: number;
}

const trainRecords = (run: string) => place.metrics(run).filter(({ type }) => type === "train");
const saved = (run: string) => (place.json(`runs/${run}/checkpoint/state.json`) as { training: Training }).training;
/** Between two renames there may be no checkpoint to read. */
const savedOrNone = (run: string) => {
  try {
    return saved(run);
  } catch {
    return undefined;
  }
};

/** Goes on to the end of the epoch; every row of every epoch must have been trained on once. */
async function expectToGoOn(run: string): Promise<void> {
  const { epoch, samples } = saved(run);
  const epochs = String(epoch + 1);
  const { code, stderr } = await place.run("train", "--resume", `runs/${run}`, "--epochs", epochs);
  expect(stderr).toContain("going on after");
  expect(code).toBe(0);
  expect(samples).toBeGreaterThanOrEqual(epoch * ROWS);
  expect(samples).toBeLessThan((epoch + 1) * ROWS);
  const summary = { samples: (epoch + 1) * ROWS, epochs: epoch + 1, stopped: "finished" };
  expect(place.json(`runs/${run}/summary.json`)).toMatchObject(summary);
  const seen = trainRecords(run).map((record) => record.samples);
  expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
  expect(seen).toContain(summary.samples);
}

describe("a run that is interrupted", () => {
  it("saves, says how to go on, and goes on exactly there", async () => {
    const child = place.start("train", "train.tsv", "--name", "it", ...flags);
    await child.until(() => trainRecords("it").length > 0);
    child.process.kill("SIGINT");
    const { code, stdout, stderr } = await child.outcome;
    expect([code, stdout]).toEqual([130, ""]);
    expect(stderr).toContain("Ctrl-C again aborts");
    expect(stderr).toMatch(/^go on with: flotilla train --resume runs\/it$/m);
    const { samples } = saved("it");
    expect(trainRecords("it").at(-1)!.samples).toBe(samples);
    expect(place.json("runs/it/summary.json")).toMatchObject({ stopped: "interrupted", samples });
    expect(place.has("runs/it/report.html")).toBe(true);

    await expectToGoOn("it");
    const events = place.metrics("it").flatMap((record) => (record.type === "event" ? [record] : []));
    expect(events.map((event) => [event.message, event.samples])).toEqual([
      ["interrupted", samples],
      ["resumed", samples],
    ]);

    const done = await place.run("train", "--resume", "runs/it");
    expect(done.code).toBe(2);
    expect(done.stderr).toMatch(
      /has done \d+ epochs? of \d+; to train on: flotilla train --resume runs\/it --epochs \d+$/m,
    );
  });

  it.each(["SIGINT", "SIGTERM"] as const)("by a second %s ends at once", async (signal) => {
    const module = new URL("./interrupt.ts", import.meta.url);
    const script = `
      const { watchInterrupts } = await import(${JSON.stringify(module)});
      watchInterrupts(() => { console.log("stopping"); setTimeout(() => console.log("still here"), 300); });
      setInterval(() => {}, 1000);
      console.log("ready");`;
    const child = new Child([], place.path, { script: ["--input-type=module", "--eval", script] });
    await child.until(() => child.stdout.includes("ready"));
    child.process.kill(signal);
    await child.until(() => child.stdout.includes("still here"));
    child.process.kill(signal);
    expect(await child.outcome).toEqual({ code: 130, stdout: "ready\nstopping\nstill here\n", stderr: "\naborted\n" });
  });
});

describe("a run that is killed", () => {
  it("goes on from its last checkpoint, and forgets what it recorded later", async () => {
    const child = place.start("train", "train.tsv", "--name", "killed", "--checkpoint-every", "1", ...flags);
    await child.until(() => trainRecords("killed").length > 0 && (savedOrNone("killed")?.samples ?? 0) > 0);
    const { samples } = saved("killed");
    await child.until(() => trainRecords("killed").at(-1)!.samples > samples);
    child.process.kill("SIGKILL");
    await child.outcome;
    await expectToGoOn("killed");
  });

  it("before its first checkpoint must start anew", async () => {
    const child = place.start("train", "train.tsv", "--name", "early", ...flags);
    await child.until(() => place.has("runs/early/config.json"));
    child.process.kill("SIGKILL");
    await child.outcome;
    const { code, stderr } = await place.run("train", "--resume", "runs/early");
    expect([code, stderr]).toEqual([2, "error: runs/early ended before its first checkpoint; train anew\n"]);
  });
});
