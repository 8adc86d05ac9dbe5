// Files are read back by hyparquet, and by pyarrow where Python has it.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import { afterAll, expect, test } from "vitest";
import { type ParquetColumn, ParquetWriter } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "flotilla-parquet-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const path = join(folder, "file.parquet");
const columns: ParquetColumn[] = [
  { name: "key", type: "u64" },
  { name: "embedding", type: "f32", list: 5 },
  { name: "wide", type: "f32" },
];

async function write(rows: number, cuts: readonly number[], groupRows?: number): Promise<Record<string, unknown>[]> {
  const keys = BigUint64Array.from({ length: rows }, (_, i) => BigInt.asUintN(64, BigInt(i + 1) * 0x9e3779b97f4a7c15n));
  const embedding = Float32Array.from({ length: 5 * rows }, (_, i) => Math.sin(i));
  const wide = Float32Array.from({ length: rows }, (_, i) => -i / 7);
  await using file = await open(path, "w");
  const writer = new ParquetWriter(file, {
    ...{ columns, createdBy: "flotilla test", metadata: { table: "ids" } },
    ...(groupRows === undefined ? {} : { groupRows }),
  });
  const ends = [...cuts.filter((cut) => cut < rows).sort((a, b) => a - b), rows];
  for (const [i, end] of ends.entries()) {
    const first = ends[i - 1] ?? 0;
    const part = [keys.subarray(first, end), embedding.subarray(5 * first, 5 * end), wide.subarray(first, end)];
    await writer.write(end - first, part);
  }
  await writer.finish();
  return Array.from(keys, (key, i) => ({
    key,
    embedding: [...embedding.subarray(5 * i, 5 * i + 5)],
    wide: wide[i],
  }));
}

/** A copy of its own, since the reader takes whole buffers. */
const bytes = (): ArrayBuffer => Uint8Array.from(readFileSync(path)).buffer;

test("any rows in any pieces and groups come back", async () => {
  const numbers = { rows: fc.nat(300), groupRows: fc.integer({ min: 1, max: 100 }), cuts: fc.array(fc.nat(300)) };
  await fc.assert(
    fc.asyncProperty(fc.record(numbers), async ({ rows, groupRows, cuts }) => {
      const expected = await write(rows, cuts, groupRows);
      expect(await parquetReadObjects({ file: bytes() })).toEqual(expected);
      expect(parquetMetadata(bytes()).row_groups.length).toBe(Math.ceil(rows / groupRows));
    }),
    { numRuns: 20 },
  );
});

// A page of embeddings has 52,428 rows.
test("several pages of a group, and what the footer says", async () => {
  const expected = await write(60_000, [100, 101, 53_000]);
  const { num_rows, row_groups, key_value_metadata, created_by } = parquetMetadata(bytes());
  expect([num_rows, row_groups.length, created_by]).toEqual([60_000n, 1, "flotilla test"]);
  expect(key_value_metadata).toEqual([{ key: "table", value: "ids" }]);
  const middle = await parquetReadObjects({ file: bytes(), rowStart: 52_420, rowEnd: 52_440 });
  expect(middle).toEqual(expected.slice(52_420, 52_440));
});

const python = spawnSync("python3", ["-c", "import pyarrow.parquet"]);
test.skipIf(python.status !== 0)("pyarrow reads the same numbers (needs pyarrow)", async () => {
  const expected = await write(60_000, [10], 30_000);
  const script = `
import json, sys, pyarrow.parquet as pq
table = pq.read_table(sys.argv[1])
print(json.dumps({"schema": str(table.schema.remove_metadata()), "rows": table.slice(29990, 20).to_pylist()}))`;
  const { stdout } = spawnSync("python3", ["-c", script, path], { encoding: "utf8" });
  // Keys are beyond the whole numbers of JSON in JavaScript.
  const { schema, rows } = JSON.parse(stdout.replaceAll(/"key": (\d+)/g, '"key": "$1"'));
  expect(schema).toMatch(
    /key: uint64 not null[\s\S]*embedding: list<element: float not null> not null[\s\S]*wide: float/,
  );
  expect(rows).toEqual(expected.slice(29_990, 30_010).map((row) => ({ ...row, key: String(row.key) })));
});

test("what makes no file is refused by name", async () => {
  await using file = await open(path, "w");
  const make = (...wrong: ParquetColumn[]) => new ParquetWriter(file, { columns: wrong, createdBy: "" });
  expect(() => make(columns[0]!, columns[0]!)).toThrow('two columns are named "key"');
  expect(() => make()).toThrow("at least one column");
  expect(() => make({ name: "x", type: "f32", list: 0 })).toThrow('lists of column "x" must have a length');
  const data = [new BigUint64Array(2), new Float32Array(9), new Float32Array(2)];
  await expect(make(...columns).write(2, data)).rejects.toThrow('column "embedding" got 36 bytes for 2 rows of 20');
});
