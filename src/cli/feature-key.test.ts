// Keys as they are typed are those that the reader makes of the same values.
import { describe, expect, it } from "vitest";
import { columnOf, Dataset, type FileSpec, RowEncoder, type RowObject } from "../data/index.ts";
import { Heap } from "../memory/index.ts";
import { parseKey } from "./feature-key.ts";
import { UsageError } from "./usage.ts";

const schema = {
  label: { column: "clicked" },
  dense: ["price"],
  categorical: [
    "site",
    { column: "hour" },
    { column: "age", bucketize: [18, 30, 65] },
    { cross: ["site", { column: "age", bucketize: [40] }] },
  ],
  bags: { tags: { column: "tags", separator: "|", max: 4 } },
};
const specOf = (changes: object): FileSpec =>
  Dataset.from({ format: "csv", patterns: "none", batch: 8, schema, ...changes }).fileSpec;

function idsOf(spec: FileSpec, row: RowObject, column = "categorical"): bigint[] {
  const heap = Heap.create({ maxBytes: 2 ** 24 });
  const encoder = RowEncoder.create(heap, Dataset.from(spec));
  encoder.encodeObjects([row]);
  const { offset, width } = columnOf(encoder.layout, column);
  return [...heap.u64(encoder.slot + offset, width)];
}

describe("features", () => {
  it.each([{}, { buckets: 1000 }])("of text data, %j", (changes) => {
    const spec = specOf(changes);
    const row = { clicked: "1", price: "3", site: "a=b,c", hour: "07", age: "31.5", tags: "x" };
    const [site, hour, age, cross] = idsOf(spec, row);
    expect(parseKey("site=a=b,c", spec)).toBe(site);
    expect(parseKey("hour=07", spec)).toBe(hour);
    expect(parseKey("age=31.5", spec)).toBe(age);
    expect(parseKey("site=a=b,c,age=31.5", spec)).toBe(cross);
    expect(parseKey("tags=x", spec)).toBe(idsOf(spec, row, "tags")[0]);
    expect(parseKey("site=", spec)).toBe(idsOf(spec, { ...row, site: "" })[0]);
  });

  it("of Parquet data, whose numbers are hashed as numbers", () => {
    const spec = specOf({ format: "parquet" });
    const row = { clicked: 1, price: 3, site: "a", hour: 0.25, age: 70, tags: "x" };
    const [site, hour, age] = idsOf(spec, row);
    expect([parseKey("site=a", spec), parseKey("hour=0.25", spec), parseKey("age=70", spec)]).toEqual([
      site,
      hour,
      age,
    ]);
    expect(parseKey("hour=7", spec)).toBe(idsOf(spec, { ...row, hour: 7 })[1]);
  });

  it("of Criteo data", () => {
    const spec = Dataset.from({ format: "criteo", patterns: "none", batch: 8 }).fileSpec;
    const ids = idsOf(spec, { C1: "05db9164", C26: "9f3a" });
    expect([parseKey("C1=05db9164", spec), parseKey("C26=9f3a", spec), parseKey("C2=", spec)]).toEqual([
      ids[0],
      ids[25],
      ids[1],
    ]);
  });

  it.each([
    ["cite=x", 'no categorical column "cite"; it has site, hour, age, site=…,age, tags; did you mean site?'],
    ["price=3", 'no categorical column "price"'],
    ["site", '"site" is neither a number nor a feature such as site=ab12'],
    ["=x", "is neither a number"],
    ["-3", "is neither a number"],
    ["0", "ids lie between 1 and 2^64 - 1"],
    ["18446744073709551616", "ids lie between"],
  ])("that are none: %s", (text, message) => {
    expect(() => parseKey(text, specOf({}))).toThrow(UsageError);
    expect(() => parseKey(text, specOf({}))).toThrow(message);
  });
});

it("numbers are ids, and need no schema", () => {
  expect([parseKey("17", undefined), parseKey("0xFFFFFFFFFFFFFFFF", undefined)]).toEqual([17n, 2n ** 64n - 1n]);
  expect(() => parseKey("site=a", undefined)).toThrow("nothing says how features were read; name the run");
});
