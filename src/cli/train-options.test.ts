import { afterAll, describe, expect, it } from "vitest";
import { Dataset } from "../data/index.ts";
import { numberedLines } from "../data/testing.ts";
import { detectFormat, unlabelled } from "./data-source.ts";
import { readRunConfig } from "./run-config.ts";
import { Workplace } from "./testing.ts";
import { configFrom, resumedConfig, type TrainFlags } from "./train-options.ts";
import { UsageError } from "./usage.ts";

const place = new Workplace();
afterAll(() => place.dispose());
const rows = numberedLines(4);
const criteo = place.write("rows.tsv", rows.join("\n"));
const bare = place.write("bare.txt", rows.map((line) => line.slice(2)).join("\n"));
const table = place.write("clicks.csv", "user,clicked,price\nu1,1,3\nu2,0,4\n");
const schema = place.write("schema.json", JSON.stringify({ label: { column: "clicked" }, categorical: ["user"] }));
const config = (data: string, flags: TrainFlags = {}) => configFrom([data], flags, 3);

describe("the configuration of a run", () => {
  it("has defaults for a Criteo file", () => {
    expect(config(criteo)).toMatchObject({
      model: { name: "deepFM", dense: 13, categorical: 26, dim: 16, hidden: [400, 400, 400], seed: 1 },
      data: { format: "criteo", patterns: [criteo], batch: 512 },
      optimizers: { default: { name: "adagrad", lr: 0.02 } },
      strategy: { mode: "async" },
      ...{ epochs: 1, threads: 3, engine: "auto", seed: 1, checkpointSeconds: 300 },
    });
    expect(config(criteo)).not.toHaveProperty("validation");
  });

  it("follows the flags", () => {
    const flags: TrainFlags = {
      ...{
        model: "dcn-v2",
        dim: 8,
        hidden: [16],
        norm: "batch",
        dropout: 0.5,
        crossLayers: 2,
        buckets: 1000,
        batch: 64,
      },
      ...{
        holdOut: 0.25,
        epochs: 3,
        patience: 2,
        evaluateEvery: 100,
        mode: "sync",
        seed: 7,
        optimizer: "adam",
        lr: 0.01,
      },
    };
    expect(config(criteo, flags)).toMatchObject({
      model: { name: "dcnV2", dim: 8, hidden: [16], norm: "batch", dropout: 0.5, crossLayers: 2, seed: 7 },
      data: { buckets: 1000, batch: 64, where: [{ rows: { from: 0, to: 0.75 } }] },
      validation: { buckets: 1000, batch: 64, where: [{ rows: { from: 0.75, to: 1 } }] },
      optimizers: { default: { name: "adam", lr: 0.01 } },
      ...{ strategy: { mode: "sync" }, epochs: 3, patience: 2, evaluateEvery: 100, seed: 7 },
    });
    const other = place.write("other.txt", `${rows[0]}\n`);
    const wide = config(criteo, { model: "wide-and-deep", wideOptimizer: "ftrl:l1=1", validation: [other] });
    expect(wide.optimizers).toMatchObject({ default: { name: "adagrad" }, linear: { name: "ftrl", l1: 1 } });
    expect(wide.validation).toMatchObject({ format: "criteo", patterns: [other], where: [] });
  });

  it("takes columns from a schema, with options of CSV beside it", () => {
    expect(config(table, { schema })).toMatchObject({
      model: { dense: 0, categorical: 1, bags: [] },
      data: { format: "csv", delimiter: ",", schema: { label: { column: "clicked" } } },
    });
    const inner = { label: { column: "y" }, dense: ["x"], bags: { tags: { column: "t", separator: "|", max: 3 } } };
    const options = place.write("options.json", JSON.stringify({ schema: inner, delimiter: ";", missing: ["NA"] }));
    const semicolons = place.write("semicolons.csv", "x;y;t\n1;0;a|b\n");
    expect(config(semicolons, { schema: options })).toMatchObject({
      model: { dense: 1, categorical: 0, bags: ["tags"] },
      data: { format: "csv", delimiter: ";", missing: ["NA"] },
    });
    const tabs = place.write("tabs.tsv", "user\tclicked\nu1\t1\n");
    expect(config(tabs, { schema }).data).toMatchObject({ format: "csv", delimiter: "\t" });
  });

  const gzip = place.write("rows.tsv.gz", Buffer.from("1f8b0800000000000003030000000000000000", "hex"));
  it.each([
    [[], {}, "name the data to train on"],
    [["no-such.tsv"], {}, 'no file matches "no-such.tsv"'],
    [[criteo], { model: "deepfn" }, "did you mean deepFM?"],
    [[criteo], { crossLayers: 2 }, "--cross-layers does not apply to deepFM; it is for dcnV2"],
    [[criteo], { model: "logistic-regression", dim: 2 }, "--dim does not apply to logisticRegression"],
    [[criteo], { model: "dcn-v2", wideOptimizer: "ftrl" }, "dcnV2 has no wide part"],
    [[criteo], { patience: 1 }, "--patience needs held-out data"],
    [[criteo], { evaluateEvery: 1 }, "--evaluate-every needs held-out data"],
    [[criteo], { validation: [criteo], holdOut: 0.1 }, "give one"],
    [[criteo], { order: "file", shuffle: 1 }, "give one"],
    [[criteo], { schema }, "Criteo rows need none", "criteo"],
    [[gzip], { holdOut: 0.1, format: "criteo" }, "which is compressed"],
    [[table], {}, "columns of"],
    [[table], {}, '{"label":{"column":"clicked"},"categorical":["user","price"],"dense":[]}'],
    [[table], { schema: "no-such.json" }, "--schema: there is no file no-such.json"],
    [[table], { schema: criteo }, "rows.tsv: "],
    [[table], { schema: place.write("list.json", "[]") }, "must hold a JSON object such as"],
    [[table], { schema: place.write("typo.json", '{"lable":{"column":"x"}}') }, "lable"],
    [[table], { schema: place.write("unlabelled.json", '{"categorical":["user"]}') }, "labels are needed"],
    [[bare], {}, "has no labels: its first line has 39 fields"],
    [[place.write("odd.txt", "a\tb\n")], {}, "cannot tell its format: the first line has 2 tab-separated fields"],
    [[place.write("empty.tsv", "")], {}, "is empty"],
  ] as const)("is refused: %j %j", (data, flags, message, format?: "criteo") => {
    const all = format === undefined ? flags : { ...flags, format };
    expect(() => configFrom(data, all as unknown as TrainFlags, 2)).toThrow(message);
  });

  it("survives being written and read", () => {
    const written = config(table, { schema, holdOut: 0.5, optimizer: "adam", schedule: "cosine:total=9" });
    place.write("config.json", JSON.stringify(written));
    expect(readRunConfig(place.path)).toEqual(JSON.parse(JSON.stringify(written)));
    place.write("config.json", '{"task":"another"}');
    expect(readRunConfig(place.path)).toBeUndefined();
    place.write("config.json", JSON.stringify({ ...written, epochs: "two" }));
    expect(() => readRunConfig(place.path)).toThrow(/config.json is damaged: .*number/);
  });
});

describe("a resumed run", () => {
  it("may change how it runs, not what it is", () => {
    const before = config(criteo, { holdOut: 0.5 });
    expect(resumedConfig(before, [], { resume: "x", epochs: 5, threads: 1, onBadLine: "skip" })).toEqual({
      ...before,
      ...{ epochs: 5, threads: 1, data: { ...before.data, onBadLine: "skip" } },
    });
    expect(() => resumedConfig(before, ["a.tsv"], {})).toThrow(UsageError);
    expect(() => resumedConfig(before, [], { resume: "x", lr: 1 })).toThrow("--lr cannot change in a run that goes on");
  });
});

describe("data without labels", () => {
  it("is told by the first line", () => {
    expect(detectFormat(bare, false)).toBe("criteo");
    const labelsOf = (path: string) => unlabelled(Dataset.from(config(criteo, { shuffle: 1 }).data), path).spec;
    expect(labelsOf(bare)).toMatchObject({ labels: false, order: "file" });
    expect(labelsOf(criteo)).toMatchObject({ labels: true });
    expect(labelsOf(criteo)).not.toHaveProperty("shuffle");
  });

  it("of CSV without a header may lack the label's column", () => {
    const options = { schema: { label: { column: "y" }, dense: ["x", "z"] }, header: false, columns: ["x", "y", "z"] };
    const spec = { format: "csv", patterns: "unused", ...options };
    const columnsOf = (line: string) => unlabelled(Dataset.from(spec), place.write("plain.csv", line)).spec;
    expect(columnsOf("1,0,2\n")).toMatchObject({ columns: ["x", "y", "z"] });
    expect(columnsOf('1,"2,5"\n')).toMatchObject({ columns: ["x", "z"] });
    expect(columnsOf("1,2\n")).not.toHaveProperty("schema.label");
  });
});
