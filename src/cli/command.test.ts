// The real command, from files to a trained model to scores.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { criteo, generateCriteo } from "../data/index.ts";
import { numberedLines } from "../data/testing.ts";
import { init } from "../fleet/index.ts";
import { create } from "../models/index.ts";
import { adagrad } from "../optim/index.ts";
import { type Outcome, Workplace } from "./testing.ts";

const ROWS = 6000;
const TEST_ROWS = 1500;
const small = ["--hidden", "16", "--dim", "4", "--batch", "128", "--threads", "2", "--engine", "wasm"];
const place = new Workplace();
afterAll(() => place.dispose());

let trained: Outcome;
beforeAll(async () => {
  const [train, test] = [join(place.path, "train.tsv"), join(place.path, "test.tsv")];
  await generateCriteo({ path: train, rows: ROWS, maxCardinality: 50 });
  await generateCriteo({ path: test, rows: TEST_ROWS, seed: 2, maxCardinality: 50 });
  trained = await place.run(
    "train",
    "train.tsv",
    "--validation",
    "test.tsv",
    "--name",
    "ctr",
    "--epochs",
    "2",
    ...small,
  );
});

describe("flotilla train", () => {
  it("ends with a table and the report, having shown its progress", () => {
    expect(trained).toMatchObject({ code: 0 });
    expect(trained.stderr).toMatch(/^deepFM on 2 threads, wasm → runs\/ctr$/m);
    expect(trained.stderr).toMatch(/^epoch 2\/2 +100 % .* loss 0\.\d+ +auc 0\.\d+/m);
    expect(trained.stderr).toMatch(/^evaluation after 12\.0 k rows: log loss/m);
    expect(trained.stdout).toMatch(/│ rows +│ 12,000 in 2 epochs +│/);
    expect(trained.stdout).toMatch(/│ AUC +│ 0\.\d{5}/);
    expect(trained.stdout).toMatch(/^report: runs\/ctr\/report.html$/m);
  });

  it("leaves everything of the run in its folder", () => {
    expect(place.json("runs/ctr/config.json")).toMatchObject({
      model: { name: "deepFM", dim: 4 },
      epochs: 2,
      threads: 2,
    });
    const summary = place.json("runs/ctr/summary.json");
    expect(summary).toMatchObject({
      ...{ model: "deepFM", engine: "wasm", threads: 2, stopped: "finished", epochs: 2 },
      ...{ samples: 2 * ROWS, heldOutSamples: TEST_ROWS, badLines: 0 },
    });
    expect(summary.auc).toBeGreaterThan(0.6);
    const records = place.metrics("ctr");
    const trainRecords = records.filter((record) => record.type === "train");
    expect(trainRecords.at(-1)!.samples).toBe(2 * ROWS);
    expect(records.filter((record) => record.type === "evaluation").map(({ samples, auc }) => [samples, auc])).toEqual([
      [ROWS, expect.any(Number)],
      [2 * ROWS, summary.auc],
    ]);
    expect(place.read("runs/ctr/report.html")).toContain("<title>ctr · flotilla</title>");
    expect(place.has("runs/ctr/checkpoint/manifest.json")).toBe(true);
  });

  it("does not replace a run unless it is told to", async () => {
    const again = await place.run("train", "train.tsv", "--name", "ctr", ...small);
    expect(again).toMatchObject({ code: 2, stdout: "" });
    expect(again.stderr).toBe(
      "error: runs/ctr holds a run; go on with it by --resume runs/ctr, choose another --name, or --overwrite it\n",
    );
  });

  it("names a bad line, or skips it", async () => {
    place.write("bad.tsv", [...numberedLines(300), "oops", ...numberedLines(300)].join("\n"));
    const failed = await place.run("train", "bad.tsv", "--name", "bad", "--quiet", ...small);
    expect(failed).toMatchObject({ code: 1, stdout: "" });
    expect(failed.stderr).toBe(
      'error: bad.tsv:301: column 1 (label): expected 0 or 1, found "oops"; mend the line, or give --on-bad-line skip to leave such lines out\n',
    );
    const skipped = await place.run("train", "bad.tsv", "--name", "bad", "--on-bad-line", "skip", ...small);
    expect(skipped.code).toBe(0);
    expect(skipped.stderr).toContain("skipped 1 bad line:\n  bad.tsv:301: column 1");
    expect(place.json("runs/bad/summary.json")).toMatchObject({ samples: 600, badLines: 1 });
  });

  it("trains synchronously on CSV with a schema, and scores what has no label", async () => {
    const rows = Array.from({ length: 2000 }, (_, i) => `u${i % 40},${i % 40 < 20 ? "yes" : "no"},${i % 7}`);
    place.write("clicks.csv", ["user,clicked,price", ...rows].join("\n"));
    const schema = { label: { column: "clicked", equals: "yes" }, categorical: ["user"], dense: ["price"] };
    place.write("schema.json", JSON.stringify(schema));
    const flags = ["--schema", "schema.json", "--hold-out", "0.2", "--mode", "sync", "--epochs", "4", "--name", "csv"];
    const { code, stderr } = await place.run("train", "clicks.csv", ...flags, ...small, "--model", "wide-and-deep");
    expect(stderr).not.toContain("error");
    expect(code).toBe(0);
    expect(place.json("runs/csv/summary.json").auc).toBeGreaterThan(0.99);

    const scored = await place.pipe("price,user\n3,u1\n\n3,u30\n", "predict", "runs/csv");
    expect(scored).toMatchObject({ code: 0, stderr: "" });
    const [clicked, not, end, ...more] = scored.stdout.split("\n");
    expect(Number(clicked)).toBeGreaterThan(Number(not));
    expect([end, more]).toEqual(["", []]);
  });
});

describe("flotilla evaluate", () => {
  it("repeats what training measured", async () => {
    const summary = place.json("runs/ctr/summary.json");
    const expected = { samples: TEST_ROWS, auc: summary.auc, loss: expect.closeTo(summary.logLoss as number, 12) };
    const [onHeldOut, onFile] = await Promise.all([
      place.run("evaluate", "runs/ctr", "--json", "--engine", "wasm"),
      place.run("evaluate", "runs/ctr/checkpoint", "test.tsv", "--engine", "wasm"),
    ]);
    expect(JSON.parse(onHeldOut.stdout)).toMatchObject(expected);
    expect(onFile.code).toBe(0);
    for (const name of ["log loss", "AUC", "calibration", "calibration error", "accuracy"]) {
      expect(onFile.stdout).toContain(`│ ${name} `);
    }
    expect(onFile.stdout).toMatch(/│ samples +│ +1,500 │/);
    expect(onFile.stdout).toContain((summary.auc as number).toFixed(5));
  });

  it("names the runs there are when it finds none", async () => {
    const { code, stderr } = await place.run("evaluate", "runs/ctx", "test.tsv");
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: runs\/ctx is neither a run nor a checkpoint; runs in runs: .*did you mean ctr\?$/m);
  });
});

describe("flotilla predict", () => {
  const lines = (text: string): string[] => text.split("\n").slice(0, -1);

  it("writes one score a row, in order, as the trainer gives them", async () => {
    const { code, stdout } = await place.run("predict", "runs/ctr", "test.tsv", "train.tsv", "--engine", "wasm");
    expect(code).toBe(0);
    const scores = lines(stdout).map((line) => Math.fround(Number(line)));

    const job = await init({ threads: 1, engine: "wasm" });
    const { name, ...rest } = place.json("runs/ctr/config.json").model as { name: string };
    const trainer = job.trainer(create(name, rest), { optimizer: adagrad({ lr: 0.02 }) });
    await trainer.load(join(place.path, "runs/ctr/checkpoint"));
    const scoresOf = (file: string) => trainer.predict(criteo(join(place.path, file), { batch: 128 }));
    expect(scores.slice(0, TEST_ROWS)).toEqual([...(await scoresOf("test.tsv"))]);
    expect(scores.slice(TEST_ROWS)).toEqual([...(await scoresOf("train.tsv"))]);
    await job.close();
  });

  it("needs no labels, from files or standard input", async () => {
    const unlabelled = lines(place.read("test.tsv")).map((line) => line.slice(line.indexOf("\t") + 1));
    place.write("new.tsv", unlabelled.join("\n"));
    // Each process of oneDNN measures which way of a product is fastest, and their last digits differ.
    const engine = ["--engine", "wasm"];
    const [labelled, file, input] = await Promise.all([
      place.run("predict", "runs/ctr", "test.tsv", ...engine),
      place.run("predict", "runs/ctr", "new.tsv", "--output", "scores.txt", ...engine),
      place.pipe(`${unlabelled.join("\r\n")}\r\n`, "predict", "runs/ctr", "-", ...engine),
    ]);
    expect(lines(labelled.stdout).length).toBe(TEST_ROWS);
    expect(file).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(place.read("scores.txt")).toBe(labelled.stdout);
    expect(input.stdout).toBe(labelled.stdout);
  });

  it("answers lines as they come", async () => {
    const rows = lines(place.read("test.tsv")).slice(0, 3);
    const child = place.start("predict", "runs/ctr");
    for (const [i, row] of rows.entries()) {
      child.process.stdin.write(`${row}\n`);
      await child.until(() => lines(child.stdout).length === i + 1);
    }
    child.process.stdin.write("half a li");
    child.process.stdin.end("ne\n");
    const { code, stdout, stderr } = await child.outcome;
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^error: standard input:4: column 1 \(label\): expected 0 or 1, found "half a line"; mend the line$/m,
    );
    expect(lines(stdout).length).toBe(3);
  });

  it("says what it cannot read", async () => {
    const [gzip, nothing, missing] = await Promise.all([
      place.pipe(Buffer.from("1f8b0800000000000003", "hex"), "predict", "runs/ctr"),
      place.pipe("", "predict", "runs/ctr"),
      place.run("predict", "runs/ctr", "no-such.tsv"),
    ]);
    expect(gzip).toMatchObject({ code: 2, stderr: expect.stringContaining("compressed; unpack it first") });
    expect(nothing).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('no file matches "no-such.tsv"') });
  });
});

describe("flotilla", () => {
  it("explains itself, and ends with 2 when it is used wrongly", async () => {
    const [help, nothing, option, command, doctor] = await Promise.all([
      place.run("predict", "--help"),
      place.run(),
      place.run("train", "train.tsv", "--epoch", "3"),
      place.run("trian"),
      place.run("doctor", "--json", "--seconds", "0"),
    ]);
    expect(help).toMatchObject({ code: 0, stdout: expect.stringContaining("Examples:"), stderr: "" });
    expect(nothing).toMatchObject({ code: 2, stderr: expect.stringContaining("Commands:") });
    expect(option).toMatchObject({ code: 2, stderr: expect.stringContaining("Did you mean --epochs?") });
    expect(command).toMatchObject({ code: 2, stderr: expect.stringContaining("Did you mean train?") });
    const found = JSON.parse(doctor.stdout) as { machine: { cores: number }; providers: { name: string }[] };
    expect(found.machine.cores).toBeGreaterThan(0);
    expect(found.providers.map(({ name }) => name)).toEqual(["wasm", "onednn"]);
  });
});
