// Whole checkpoints: what is saved comes back, the swap is atomic at every point of a crash, foreign folders stay.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CheckpointError } from "./error.ts";
import { removeCheckpoint } from "./folders.ts";
import { openCheckpoint } from "./open.ts";
import { saveCheckpoint } from "./save.ts";
import type { CheckpointContents, SaveProgress, TableChunk, TableColumn, TableSource } from "./types.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "flotilla-checkpoint-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const COLUMNS: TableColumn[] = [
  { name: "embedding", width: 4 },
  { name: "embedding.accumulator", width: 1 },
];

/** Row i has key 1000 + i and numbers that tell row, column and place. */
function tableOf(name: string, rows: number, chunkRows: number, promised = rows): TableSource {
  return {
    name,
    rows: promised,
    columns: COLUMNS,
    *chunks(): Generator<TableChunk> {
      for (let first = 0; first < rows; first += chunkRows) yield chunkOf(first, Math.min(chunkRows, rows - first));
    },
  };
}

function chunkOf(first: number, rows: number): TableChunk {
  return {
    rows,
    keys: BigUint64Array.from({ length: rows }, (_, i) => BigInt(1000 + first + i)),
    columns: COLUMNS.map(({ width }, c) =>
      Float32Array.from({ length: rows * width }, (_, i) => (first * width + i) * 10 + c),
    ),
  };
}

const contents = (state = 1): CheckpointContents => ({
  tensors: [{ name: "w", dtype: "F32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, state) }],
  tables: [tableOf("features", 10, 3)],
  state: { step: state },
});

async function stateOf(path: string): Promise<unknown> {
  await using checkpoint = await openCheckpoint(path);
  return checkpoint.state;
}

describe("what is saved comes back", () => {
  test("tensors, tables and state", async () => {
    const path = join(folder, "runs", "a");
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const shared = new Float32Array(memory.buffer, 64, 6);
    shared.set([1, 2, 3, 4, 5, 6]);
    const state = { step: 7, epoch: 0.5, seeds: [1, 2], strategy: { mode: "async" }, none: null };
    await saveCheckpoint(path, {
      tensors: [
        { name: "w", dtype: "F32", shape: [2, 3], data: shared },
        { name: "steps", dtype: "U64", shape: [], data: BigUint64Array.of(2n ** 63n) },
        { name: "pieces", dtype: "F32", shape: [4], data: [Float32Array.of(1), Float32Array.of(2, 3, 4)] },
        { name: "empty", dtype: "F32", shape: [0, 5], data: new Float32Array(0) },
      ],
      tables: [tableOf("features", 10, 3), tableOf("no rows", 0, 1)],
      state,
    });
    await using checkpoint = await openCheckpoint(path);
    expect(checkpoint.state).toEqual(state);
    expect(checkpoint.tool).toMatch(/^flotilla \d/);
    expect([...checkpoint.tensors.keys()].sort()).toEqual(["empty", "pieces", "steps", "w"]);
    shared.fill(0);
    await checkpoint.readTensor("w", shared);
    expect([...shared]).toEqual([1, 2, 3, 4, 5, 6]);
    const steps = new BigUint64Array(1);
    await checkpoint.readTensor("steps", steps);
    expect(steps[0]).toBe(2n ** 63n);
    const pieces = new Float32Array(4);
    await checkpoint.readTensor("pieces", pieces);
    expect([...pieces]).toEqual([1, 2, 3, 4]);
    expect(checkpoint.table("no rows").rows).toBe(0);
    for await (const _ of checkpoint.table("no rows").chunks()) expect.unreachable();
    expect(checkpoint.table("features").columns).toEqual(COLUMNS);
  });

  test("tables over any split into files and chunks", async () => {
    const sizes = {
      rows: fc.integer({ min: 0, max: 400 }),
      write: fc.integer({ min: 1, max: 150 }),
      read: fc.integer({ min: 1, max: 150 }),
    };
    const property = fc.asyncProperty(fc.record(sizes), async ({ rows, write, read }) => {
      const path = join(folder, "split");
      await saveCheckpoint(path, { tables: [tableOf("a/b ü", rows, write)] }, { maxFileBytes: 4096 });
      const files = readdirSync(path).filter((name) => name.startsWith("table-"));
      // About 140 rows fit; the header's length varies with the digits of its offsets.
      expect(files.length).toBeGreaterThanOrEqual(Math.max(1, Math.ceil(rows / 142)));
      expect(files.length).toBeLessThanOrEqual(Math.max(1, Math.ceil(rows / 136)));
      for (const file of files) expect(readFileSync(join(path, file)).length).toBeLessThanOrEqual(4096);
      await using checkpoint = await openCheckpoint(path);
      let first = 0;
      for await (const chunk of checkpoint.table("a/b ü").chunks(read)) {
        expect(chunk.rows).toBeLessThanOrEqual(read);
        expect(chunk).toEqual(chunkOf(first, chunk.rows));
        first += chunk.rows;
      }
      expect(first).toBe(rows);
    });
    await fc.assert(property, { numRuns: 25, examples: [[{ rows: 139, write: 1, read: 1 }]] });
  });

  test("dense tensors over several files, with progress", async () => {
    const path = join(folder, "dense");
    const tensors = Array.from({ length: 5 }, (_, i) => ({
      name: `t${i}`,
      dtype: "F32" as const,
      shape: [600],
      data: new Float32Array(600).fill(i),
    }));
    const seen: SaveProgress[] = [];
    await saveCheckpoint(path, { tensors }, { maxFileBytes: 5000, onProgress: (progress) => seen.push(progress) });
    expect(seen.at(-1)).toEqual({ bytes: 12_000, totalBytes: 12_000 });
    expect(
      readdirSync(path)
        .filter((name) => name.startsWith("dense"))
        .sort()[2],
    ).toBe("dense-00003-of-00003.safetensors");
    await using checkpoint = await openCheckpoint(path);
    const into = new Float32Array(600);
    for (let i = 0; i < 5; i++) {
      await checkpoint.readTensor(`t${i}`, into);
      expect(into.every((x) => x === i)).toBe(true);
    }
  });

  test("a table names the files after itself, whatever its name", async () => {
    const path = join(folder, "names");
    await saveCheckpoint(path, { tables: [tableOf("../../etc", 1, 1), tableOf("CON.txt", 1, 1)] });
    expect(readdirSync(path).sort()).toContain("table-%2e%2e%2f%2e%2e%2fetc-00001-of-00001.safetensors");
    await using checkpoint = await openCheckpoint(path);
    expect(checkpoint.table("../../etc").rows).toBe(1);
  });
});

describe("saving is atomic", () => {
  test("a save replaces the one before and leaves nothing else", async () => {
    const path = join(folder, "c");
    await saveCheckpoint(path, contents(1));
    await saveCheckpoint(path, contents(2));
    expect(await stateOf(path)).toEqual({ step: 2 });
    expect(readdirSync(folder)).toEqual(["c"]);
  });

  test("a save that fails leaves the one before", async () => {
    const path = join(folder, "c");
    await saveCheckpoint(path, contents(1));
    const short = saveCheckpoint(path, { tables: [tableOf("features", 5, 2, 9)] });
    await expect(short).rejects.toThrow(/table "features".*gave 5 rows but promised 9/);
    const long = saveCheckpoint(path, { tables: [tableOf("features", 9, 2, 5)] });
    await expect(long).rejects.toThrow(/gave more than the 5 rows it promised; pause training/);
    const tensor = { name: "w", dtype: "F32" as const, shape: [3], data: new Float32Array(2) };
    await expect(saveCheckpoint(path, { tensors: [tensor] })).rejects.toThrow(/tensor "w" gave 4 bytes less/);
    await expect(saveCheckpoint(path, { tensors: [{ ...tensor, shape: [1] }] })).rejects.toThrow(/gave more data/);
    expect(await stateOf(path)).toEqual({ step: 1 });
    expect(readdirSync(folder)).toEqual(["c"]);
  });

  test("a crash while writing leaves the one before, and the next save clears up", async () => {
    const path = join(folder, "c");
    await saveCheckpoint(path, contents(1));
    const dead = `${path}.tmp-${siblingTag()}`;
    mkdirSync(dead);
    writeFileSync(join(dead, "dense.safetensors"), "half");
    expect(await stateOf(path)).toEqual({ step: 1 });
    await saveCheckpoint(path, contents(2));
    expect(readdirSync(folder)).toEqual(["c"]);
  });

  test("a crash between the renames: the new one is found, and the next save goes on from it", async () => {
    const path = join(folder, "c");
    await saveCheckpoint(path, contents(1));
    renameSync(path, `${path}.old-${siblingTag()}`);
    await saveCheckpoint(join(folder, "other"), contents(2));
    renameSync(join(folder, "other"), `${path}.tmp-${siblingTag()}`);
    expect(await stateOf(path)).toEqual({ step: 2 });
    expect(existsSync(path)).toBe(false);
    const failed = saveCheckpoint(path, { tables: [tableOf("features", 5, 2, 9)] });
    await expect(failed).rejects.toThrow();
    expect(await stateOf(path)).toEqual({ step: 2 });
    expect(readdirSync(folder)).toEqual(["c"]);
  });

  test("a crash that leaves only the old one: it is found", async () => {
    const path = join(folder, "c");
    await saveCheckpoint(path, contents(1));
    renameSync(path, `${path}.old-${siblingTag()}`);
    expect(await stateOf(path)).toEqual({ step: 1 });
  });

  test("a removed checkpoint does not come back from what a crash left", async () => {
    const path = join(folder, "c");
    await saveCheckpoint(path, contents(1));
    renameSync(path, `${path}.old-${siblingTag()}`);
    await removeCheckpoint(path);
    expect(readdirSync(folder)).toEqual([]);
    writeIn(path, "notes.txt", "x");
    await expect(removeCheckpoint(path)).rejects.toThrow(/holds other files/);
  });

  test("what another live saver writes beside it stays", async () => {
    const path = join(folder, "c");
    const live = `${path}.tmp-${siblingTag(process.ppid)}`;
    const elsewhere = `${path}.tmp-another-machine-1-1`;
    mkdirSync(live);
    mkdirSync(elsewhere);
    await saveCheckpoint(path, contents(1));
    expect(existsSync(live) && existsSync(elsewhere)).toBe(true);
  });

  test("two saves of one checkpoint at a time are refused", async () => {
    const path = join(folder, "c");
    const first = saveCheckpoint(path, contents(1));
    await expect(saveCheckpoint(path, contents(2))).rejects.toThrow(/is being saved already/);
    await first;
    expect(await stateOf(path)).toEqual({ step: 1 });
  });
});

function writeIn(path: string, name: string, text: string): void {
  mkdirSync(path);
  writeFileSync(join(path, name), text);
}

describe("folders of others are not replaced", () => {
  test.each([
    ["a file", (path: string) => writeFileSync(path, "x"), /is a file; a checkpoint is a folder/],
    [
      "a folder with files",
      (path: string) => writeIn(path, "notes.txt", "x"),
      /holds other files, so it is left alone/,
    ],
    [
      "a manifest of others",
      (path: string) => writeIn(path, "manifest.json", "{}"),
      /manifest.json of another program/,
    ],
  ])("%s", async (_, make, message) => {
    const path = join(folder, "c");
    make(path);
    await expect(saveCheckpoint(path, contents())).rejects.toThrow(message);
    expect(readdirSync(folder)).toEqual(["c"]);
  });

  test("an empty folder and a damaged checkpoint of ours are", async () => {
    const path = join(folder, "c");
    mkdirSync(path);
    await saveCheckpoint(path, contents(1));
    writeFileSync(join(path, "manifest.json"), `${readFileSync(join(path, "manifest.json"), "utf8")} `);
    await saveCheckpoint(path, contents(2));
    expect(await stateOf(path)).toEqual({ step: 2 });
  });
});

test("names given twice and reading what is not there are refused", async () => {
  const path = join(folder, "c");
  const w = { name: "w", dtype: "F32" as const, shape: [1], data: new Float32Array(1) };
  await expect(saveCheckpoint(path, { tensors: [w, w] })).rejects.toThrow(/two tensors are named "w"/);
  const tables = [tableOf("t", 1, 1), tableOf("t", 1, 1)];
  await expect(saveCheckpoint(path, { tables })).rejects.toThrow(/two tables are named "t"/);
  await saveCheckpoint(path, contents());
  await using checkpoint = await openCheckpoint(path);
  await expect(checkpoint.readTensor("v", new Float32Array(6))).rejects.toThrow(/has no tensor "v"; it has w/);
  await expect(checkpoint.readTensor("w", new Float32Array(5))).rejects.toThrow(
    /F32 \[2,3\], 24 bytes; it cannot be read into a Float32Array of 20/,
  );
  await expect(checkpoint.readTensor("w", new Int32Array(6))).rejects.toThrow(CheckpointError);
  expect(() => checkpoint.table("u")).toThrow(/has no table "u"; it has features/);
});

/** The tag of a saver on this machine; by default of a process that has ended. */
function siblingTag(pid = 2 ** 22 + 1): string {
  return `${hostname().replaceAll(/[^\w-]/g, "_")}-${pid}-1`;
}
