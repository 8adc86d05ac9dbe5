import { afterAll, describe, expect, it } from "vitest";
import { Heap } from "../memory/index.ts";
import { criteo, csv, type Dataset, parquet } from "./dataset.ts";
import { crossId, featureId } from "./feature-hash.ts";
import { RowEncoder, type RowObject } from "./row-encoder.ts";
import type { SchemaInput } from "./schema.ts";
import { decodeAll, numberedLines, type Row, rowsOf, temporaryFolder } from "./testing.ts";

const heap = Heap.create({ maxBytes: 2 ** 26 });
const folder = temporaryFolder();
afterAll(() => folder.dispose());

function encode(dataset: Dataset, rows: readonly string[] | readonly RowObject[], columns?: readonly string[]): Row[] {
  const encoder = RowEncoder.create(heap, dataset, columns);
  // A second use must not show what the first left.
  const lines = (): number =>
    typeof rows[0] === "string" ? encoder.encodeLines(rows as string[]) : encoder.encodeObjects(rows as RowObject[]);
  lines();
  const count = lines();
  expect(count).toBe(rows.length);
  const result = rowsOf(heap, dataset.layout, encoder.slot, dataset.layout.batch);
  for (const row of result.slice(count)) {
    for (const values of Object.values(row)) expect(values.every((value) => Number(value) === 0)).toBe(true);
  }
  encoder.free();
  return result.slice(0, count);
}

describe("Criteo rows", () => {
  const lines = numberedLines(5);
  const dataset = criteo(folder.write("rows.tsv", lines.join("\n")), { batch: 8 });

  it("are encoded as training saw them, with or without label, as lines or objects", async () => {
    const expected = (await decodeAll(heap, dataset)).map((row) => ({ ...row, weight: [1] }));
    expect(encode(dataset, lines)).toEqual(expected);
    const unlabelled = expected.map((row) => ({ ...row, label: [0] }));
    expect(
      encode(
        dataset,
        lines.map((line) => line.slice(2)),
      ),
    ).toEqual(unlabelled);
    const objects = lines.map((line) => {
      const fields = line.split("\t");
      return Object.fromEntries(fields.slice(1).map((field, i) => [i < 13 ? `I${i + 1}` : `C${i - 12}`, field]));
    });
    expect(encode(dataset, objects)).toEqual(unlabelled);
    expect(encode(dataset, [{ I1: 5 }])[0]!.dense![0]).toBeCloseTo(Math.log(6), 6);
  });

  it("that are bad are named by their line", () => {
    const encoder = RowEncoder.create(heap, dataset);
    expect(() => encoder.encodeLines([lines[0]!, "1\tx"], "scores.tsv")).toThrow(
      /^scores.tsv:2: expected 40 tab-separated/,
    );
    expect(() => encoder.encodeLines([lines[0]!, ""])).toThrow("input:2: expected a row, found a blank line");
    expect(() => encoder.encodeLines(["a\nb"])).toThrow("input:1: expected one line");
    expect(() => encoder.encodeLines(new Array(9).fill(lines[0]))).toThrow(
      "a batch of this dataset holds 8 rows, got 9",
    );
    encoder.free();
  });
});

const schema: SchemaInput = {
  label: { column: "clicked" },
  dense: [{ column: "price", transform: "log" }],
  derived: { hour: { column: "at", part: "hour" } },
  categorical: ["city", { cross: ["city", "hour"] }, { column: "price", bucketize: [10] }],
  bags: { tags: { column: "tags", separator: "|", max: 2 } },
};
const object = { city: "Ulm", price: 12, at: new Date("2001-05-05T07:30:00Z"), tags: ["a", "b", "c"] };

describe("CSV rows", () => {
  const text = 'clicked,city,price,at,tags\n0,Ulm,12,2001-05-05T07:30:00Z,a|b|c\n0,"A, B",,2001-05-05T08:30:00Z,\n';
  const file = folder.write("rows.csv", text);
  const dataset = csv(file, { batch: 4, schema }).where({ column: "price", from: 1000 });
  const columns = text.split("\n")[0]!.split(",");

  it("are encoded as training saw them, without label and filters", async () => {
    const expected = (await decodeAll(heap, csv(file, { batch: 4, schema }))).map((row) => ({ ...row, weight: [1] }));
    expect(encode(dataset, text.trim().split("\n").slice(1), columns)).toEqual(expected);
    expect(encode(dataset, ['Ulm,12,2001-05-05T07:30:00Z,"a|b|c"'], columns.slice(1))).toEqual([expected[0]]);
    expect(encode(dataset, [object, { city: "A, B", at: "2001-05-05T08:30:00Z" }])).toEqual(expected);
  });

  it("need the order of their columns", () => {
    const encoder = RowEncoder.create(heap, dataset);
    expect(() => encoder.encodeLines(["1,2"])).toThrow("pass it to RowEncoder.create");
    expect(() => RowEncoder.create(heap, dataset, ["city"])).toThrow('the lines have no column "price"');
    expect(() => encoder.encodeObjects([object, { ...object, price: "dear" }])).toThrow(
      'input:2: column "price": expected a number or a time, found "dear"',
    );
    encoder.free();
    const lines = RowEncoder.create(heap, dataset, columns);
    expect(() => lines.encodeLines(["0,Ulm,1,2001-01-01,", "0,Ulm"])).toThrow("input:2: expected 5 fields, found 2");
    lines.free();
  });
});

describe("Parquet rows", () => {
  it("are objects", () => {
    const dataset = parquet("unused", { batch: 4, schema });
    const [row] = encode(dataset, [object]);
    expect(row!.categorical).toEqual([featureId(0, "Ulm"), crossId(1, ["Ulm", 7]), featureId(2, 1)]);
    expect(row!.tags).toEqual([featureId(3, "a"), featureId(3, "b")]);
    const encoder = RowEncoder.create(heap, dataset);
    expect(() => encoder.encodeLines(["x"])).toThrow("use encodeObjects");
    encoder.free();
  });
});
