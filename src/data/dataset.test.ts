import { describe, expect, it } from "vitest";
import { criteo, csv, Dataset, parquet } from "./dataset.ts";
import { columnOf } from "./layout.ts";

describe("a dataset", () => {
  it("is plain data that survives JSON and structured clone", () => {
    const dataset = csv("*.csv", { schema: { categorical: ["a", { cross: ["a", "b"] }] }, batch: 100 })
      .where({ rows: { to: 0.9 } })
      .shard({ rank: 1, worldSize: 3 });
    expect(Dataset.from(JSON.parse(JSON.stringify(dataset.spec))).spec).toEqual(dataset.spec);
    expect(Dataset.from(structuredClone(dataset.spec)).layout).toEqual(dataset.layout);
  });

  it("lays its columns out on lines of 64 bytes", () => {
    const { layout } = csv("x", {
      batch: 100,
      schema: { dense: ["a"], categorical: ["b", "c"], bags: { tags: { column: "t", separator: " ", max: 7 } } },
    });
    expect(layout.columns.map(({ name, shape, offset }) => [name, shape, offset])).toEqual([
      ["label", [100], 0],
      ["weight", [100], 448],
      ["dense", [100, 1], 896],
      ["categorical", [100, 2], 1344],
      ["tags", [100, 7], 2944],
    ]);
    expect(layout.bytes).toBe(2944 + 5632);
    expect(columnOf(criteo("x").layout, "categorical").width).toBe(26);
    expect(() => columnOf(layout, "embedding")).toThrow('no column "embedding"; it has label, weight, dense');
  });

  it.each<[string, () => unknown]>([
    ["data.criteo: option batch: Too small: expected number to be >=1 (got 0)", () => criteo("x", { batch: 0 })],
    ['data.criteo: the options: Unrecognized key: "bach"', () => criteo("x", { bach: 3 } as never)],
    ["column names come from the header", () => csv("x", { schema: {}, header: false })],
    ["column names come from the header", () => csv("x", { schema: {}, columns: ["a"] })],
    [
      "option schema.label: takes one of equals",
      () => csv("x", { schema: { label: { column: "a", equals: 1, greaterThan: 2 } } }),
    ],
    [
      "option schema.bags.label: is a reserved name",
      () => csv("x", { schema: { bags: { label: { column: "a", separator: " ", max: 1 } } } }),
    ],
    ["must ascend", () => parquet("x", { schema: { categorical: [{ column: "a", bucketize: [2, 1] }] } })],
    ["option delimiter", () => csv("x", { schema: {}, delimiter: "::" })],
    ["rank must be below worldSize", () => criteo("x").shard({ rank: 2, worldSize: 2 })],
    ["needs from, to or both", () => criteo("x").where({ column: "a" })],
  ])("refuses wrong options: %s", (message, make) => {
    expect(make).toThrow(message);
  });
});
