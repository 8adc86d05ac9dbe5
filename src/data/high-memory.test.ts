// Decoders write the same batches wherever in memory texts, columns and slots lie.
import { afterAll, describe, expect, it } from "vitest";
import { Heap } from "../memory/index.ts";
import { highHeap } from "../memory/testing.ts";
import { criteo, csv, type Dataset, parquet } from "./dataset.ts";
import type { BadLine } from "./errors.ts";
import { RowEncoder, type RowObject } from "./row-encoder.ts";
import type { SchemaInput } from "./schema.ts";
import { decodeAll, numberedLines, type Row, rowsOf, temporaryFolder } from "./testing.ts";
import { writeParquet } from "./testing-parquet.ts";

const low = Heap.create({ maxBytes: 2 ** 26 });
const high = highHeap();
const folder = temporaryFolder();
afterAll(() => folder.dispose());

const ROWS = 2500;
const numbers = Array.from({ length: ROWS }, (_, i) => (i % 7 === 3 ? null : (i * 37) % 1000));
const texts = numbers.map((x, i) => (x === null ? null : `text ${x} of "${i % 50}", which is long`));
const cells = (x: number | string | null): string => (x === null ? "" : `"${String(x).replaceAll('"', '""')}"`);
const schema: SchemaInput = {
  label: { column: "x", greaterThan: 300 },
  dense: ["x", { column: "x", transform: "log" }],
  categorical: ["s", { cross: ["s", "x"] }, { column: "x", bucketize: [100, 500] }],
  bags: { words: { column: "s", separator: " ", max: 4 } },
};
const csvText = `x,s\n${numbers.map((x, i) => `${x ?? 0},${cells(texts[i]!)}\n`).join("")}`;
const column = { name: "x", type: "INT64", values: numbers.map((x) => x ?? 0), pageRows: 900 } as const;

const datasets: Record<string, Dataset> = {
  criteo: criteo(folder.write("rows.tsv", numberedLines(ROWS).join("\n")), { batch: 64, buckets: 1000 }),
  csv: csv(folder.write("rows.csv", csvText), { batch: 64, schema }),
  "parquet, plain": parquet(
    folder.write("plain.parquet", writeParquet([column, { name: "s", type: "BYTE_ARRAY", values: texts }])),
    { batch: 64, schema },
  ),
  "parquet, dictionary": parquet(
    folder.write(
      "dictionary.parquet",
      writeParquet([column, { name: "s", type: "BYTE_ARRAY", values: texts, dictionary: true }]),
    ),
    { batch: 64, schema },
  ),
};

describe("above 4 GiB", () => {
  it.each(Object.keys(datasets))("%s", async (name) => {
    const dataset = datasets[name]!;
    const rows = await decodeAll(high, dataset);
    expect(rows.length).toBe(ROWS);
    expect(rows).toEqual(await decodeAll(low, dataset));
  });

  it("bad rows are told as they are", async () => {
    const dataset = csv(folder.write("bad.csv", 'x,s\n1,"a"\n2\n3,"b"x\nfour,c\n5,d\n'), { schema });
    const badLines = async (heap: Heap): Promise<BadLine[]> => {
      const bad: BadLine[] = [];
      await decodeAll(heap, dataset, { badLines: bad });
      return bad;
    };
    const told = await badLines(high);
    expect(told.length).toBe(3);
    expect(told).toEqual(await badLines(low));
  });

  it("objects", () => {
    const objects: RowObject[] = [{ x: 5, s: "a b c" }, { x: 700 }, { x: 20, s: ["d", "e"] }];
    const encode = (heap: Heap, dataset: Dataset): Row[] => {
      const encoder = RowEncoder.create(heap, dataset, ["x", "s"]);
      encoder.encodeObjects(objects);
      return rowsOf(heap, dataset.layout, encoder.slot, objects.length);
    };
    for (const dataset of Object.values(datasets)) expect(encode(high, dataset)).toEqual(encode(low, dataset));
  });
});
