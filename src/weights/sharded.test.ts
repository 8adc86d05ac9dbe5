// Weights over several files with an index, as Hugging Face writes them, and sets of files that do not fit together.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { CheckpointError, type TensorSource, writeSafetensors } from "../checkpoint/index.ts";
import { linear } from "../nn/index.ts";
import { type Program, trace } from "../program/index.ts";
import { type ImportReport, importWeights } from "./index.ts";

const root = mkdtempSync(join(tmpdir(), "flotilla-sharded-"));
afterAll(() => rmSync(root, { recursive: true }));

const program: Program = trace(({ x }, ctx) => linear(ctx, "b", linear(ctx, "a", x, 3), 2), {
  inputs: { x: { shape: [1, 4], dtype: "f32" } },
  training: false,
});

const tensor = (name: string, shape: number[], first: number): TensorSource => ({
  name,
  dtype: "F32",
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => first + i),
});
const all = {
  "a.weight": tensor("a.weight", [3, 4], 0),
  "a.bias": tensor("a.bias", [3], 20),
  "b.weight": tensor("b.weight", [2, 3], 30),
  "b.bias": tensor("b.bias", [2], 40),
};
type Name = keyof typeof all;

const [ONE, TWO] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const INDEX = "model.safetensors.index.json";

let folders = 0;
/** Writes files with these tensors, and an index. */
async function write(files: Readonly<Record<string, readonly Name[]>>, index?: unknown): Promise<string> {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  for (const [file, names] of Object.entries(files)) {
    await writeSafetensors(
      join(folder, file),
      names.map((name) => all[name]),
    );
  }
  if (index !== undefined) {
    writeFileSync(join(folder, INDEX), typeof index === "string" ? index : JSON.stringify(index));
  }
  return folder;
}

const indexOf = (files: Readonly<Record<string, readonly string[]>>): object => ({
  metadata: { total_size: 92 },
  weight_map: Object.fromEntries(Object.entries(files).flatMap(([file, names]) => names.map((name) => [name, file]))),
});

async function read(path: string): Promise<{ weights: Record<string, number[]>; report: ImportReport }> {
  const views: Record<string, Float32Array> = {};
  for (const [name, { value }] of Object.entries(program.parameters)) {
    views[name] = new Float32Array(program.values[value]!.shape.reduce((a, b) => a * b, 1));
  }
  const report = await importWeights(path, program, (name) => views[name]!);
  return { weights: Object.fromEntries(Object.entries(views).map(([name, view]) => [name, [...view]])), report };
}

describe("files with an index", () => {
  const files = { [ONE]: ["b.bias", "a.weight"], [TWO]: ["a.bias", "b.weight"] } as const;

  test("are read by the index and by the folder, as one file is", async () => {
    const folder = await write(files, indexOf(files));
    const single = await write({ "model.safetensors": Object.keys(all) as Name[] });
    const expected = await read(join(single, "model.safetensors"));
    expect(expected.report.imported).toHaveLength(4);
    expect(expected.weights["a/weight"]).toEqual([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
    for (const path of [folder, join(folder, INDEX), single]) expect(await read(path), path).toEqual(expected);
  });

  test("may have tensors that the index does not list", async () => {
    const folder = await write(files, indexOf({ [ONE]: ["a.weight"], [TWO]: ["a.bias", "b.weight"] }));
    expect((await read(folder)).weights["b/bias"]).toEqual([40, 41]);
  });

  test("a tensor of a wrong shape is said with its own file", async () => {
    const folder = await write({ [ONE]: ["b.bias", "a.weight"] }, indexOf(files));
    await writeSafetensors(join(folder, TWO), [all["a.bias"], tensor("b.weight", [3, 2], 0)]);
    await expect(read(folder)).rejects.toThrow(
      new RegExp(`${TWO}: tensor "b.weight" at byte \\d+ has the shape \\[3,2\\], parameter b/weight`),
    );
  });

  test("a parameter that no file has is said with the index", async () => {
    const some = { [ONE]: ["a.weight"], [TWO]: ["a.bias", "b.weight"] } as const;
    await expect(read(await write(some, indexOf(some)))).rejects.toThrow(
      new RegExp(`${INDEX}: lacks b.bias \\(parameter b/bias\\)`),
    );
  });

  test.each<[string, Readonly<Record<string, readonly Name[]>>, unknown, RegExp]>([
    [
      "a file that is not there",
      { [ONE]: ["b.bias", "a.weight"] },
      indexOf(files),
      new RegExp(`${INDEX}: has tensor "a.bias" and 1 more in ${TWO}. .*${TWO}: cannot be opened: ENOENT`),
    ],
    [
      "a tensor that its file lacks",
      { [ONE]: ["a.weight"], [TWO]: ["a.bias", "b.weight"] },
      indexOf(files),
      new RegExp(`${INDEX}: has tensor "b.bias" in ${ONE}, which lacks it`),
    ],
    [
      "a tensor in two files",
      { [ONE]: ["b.bias", "a.weight"], [TWO]: ["a.bias", "b.weight", "a.weight"] },
      indexOf(files),
      new RegExp(`${TWO}: has tensor "a.weight", which is in ${ONE} too`),
    ],
    ["a file elsewhere", {}, indexOf({ "../x.safetensors": ["a.weight"] }), /"a.weight" in "..\/x.safetensors"; that/],
    ["a file of another kind", {}, indexOf({ "x.bin": ["a.weight"] }), /"a.weight" in "x.bin"; that must be/],
    ["no map", {}, { weights: {} }, new RegExp(`${INDEX}: is no index of safetensors files: it must have weight_map`)],
    ["no names", {}, { weight_map: { a: 1 } }, /must have weight_map/],
    ["no JSON", {}, '{"weight_map": {', new RegExp(`${INDEX}: is no readable index of safetensors files: `)],
  ])("%s: said by name", async (_, files, index, message) => {
    const reading = read(await write(files, index));
    await expect(reading).rejects.toThrow(message);
    await expect(reading).rejects.toBeInstanceOf(CheckpointError);
  });

  test("an index that is not there", async () => {
    const folder = await write({});
    await expect(read(join(folder, INDEX))).rejects.toThrow(/is no readable index of safetensors files: ENOENT/);
  });
});

describe("folders without an index", () => {
  test("of several files, or of none, are refused by name", async () => {
    const several = await write({ "a.safetensors": ["a.weight"], "b.safetensors": ["a.bias"] });
    await expect(read(several)).rejects.toThrow(
      `${basename(several)}: has a.safetensors, b.safetensors; give the path of the one to read`,
    );
    await expect(read(await write({}))).rejects.toThrow(/has no \*.safetensors.index.json and no \*.safetensors file/);
  });
});
