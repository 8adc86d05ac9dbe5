import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import { afterAll, describe, expect, it } from "vitest";
import { Heap } from "../memory/index.ts";
import { type Dataset, parquet } from "./dataset.ts";
import { crossId, featureId } from "./feature-hash.ts";
import { compressors, openBuffer, readFooter } from "./parquet-file.ts";
import type { SchemaInput } from "./schema.ts";
import { decodeAll, temporaryFolder } from "./testing.ts";
import { type ParquetFixtureColumn, writeParquet } from "./testing-parquet.ts";

const flights = "node_modules/vega-datasets/data/flights-3m.parquet";
const heap = Heap.create({ maxBytes: 2 ** 28 });
const folder = temporaryFolder();
afterAll(() => folder.dispose());

describe.skipIf(!existsSync(flights))("real flights", () => {
  const schema: SchemaInput = {
    label: { column: "delay", greaterThan: 15 },
    dense: ["distance", { column: "delay", transform: "log" }],
    derived: {
      hour: { column: "date", part: "hour" },
      weekday: { column: "date", part: "weekday" },
      month: { column: "date", part: "month" },
    },
    categorical: [
      "origin",
      { cross: ["origin", "destination"] },
      { cross: ["destination", "hour"] },
      "weekday",
      "month",
    ],
  };

  it("are what hyparquet reads, across row groups", async () => {
    const [rowStart, rowEnd] = [272_000, 273_500];
    const file = openBuffer(flights);
    const expected = await parquetReadObjects({ file, compressors, rowStart, rowEnd });
    file.close();
    const rows = await decodeAll(heap, parquet(flights, { schema }), {
      units: () => [{ file: 0, start: rowStart, end: rowEnd }],
    });
    expect(rows.length).toBe(expected.length);
    expected.forEach(({ date, delay, distance, origin, destination }, i) => {
      const { label, dense, categorical } = rows[i]!;
      const time = date as Date;
      expect(label).toEqual([Number(delay > 15n)]);
      expect(dense![0]).toBe(Number(distance));
      expect(dense![1]).toBeCloseTo(Math.log1p(Math.max(0, Number(delay))), 5);
      expect(categorical).toEqual([
        featureId(0, origin),
        crossId(1, [origin, destination]),
        crossId(2, [destination, time.getUTCHours()]),
        featureId(3, time.getUTCDay()),
        featureId(4, time.getUTCMonth() + 1),
      ]);
    });
  });

  it("are sorted by time, so that the last tenth of the rows is the last in time", async () => {
    const { rows, metadata } = readFooter(flights);
    expect(rows).toBe(3_000_000);
    const bounds = metadata.row_groups.map(({ columns }) => columns[0]!.meta_data!.statistics!);
    for (let i = 1; i < bounds.length; i++) {
      expect(Number(bounds[i]!.min_value)).toBeGreaterThanOrEqual(Number(bounds[i - 1]!.max_value));
    }
    const last = parquet(flights, { schema: { dense: ["distance"] } }).where({ rows: { from: 0.999 } });
    expect((await decodeAll(heap, last)).length).toBe(3000);
  });

  it("are refused when damaged", async () => {
    const path = `${folder.path}/damaged.parquet`;
    copyFileSync(flights, path);
    const bytes = readFileSync(path);
    bytes.fill(0x55, 1000, 60_000);
    folder.write("damaged.parquet", bytes);
    const dataset = parquet(path, { schema: { categorical: ["date"] } });
    await expect(decodeAll(heap, dataset)).rejects.toThrow(
      /damaged.parquet: rows 0 to 272727 cannot be decoded: column "date"/,
    );
  });
});

describe("Parquet pages", () => {
  const read = async (
    columns: ParquetFixtureColumn[],
    schema: SchemaInput,
  ): Promise<Awaited<ReturnType<typeof decodeAll>>> =>
    decodeAll(heap, parquet(folder.write("fixture.parquet", writeParquet(columns)), { schema, batch: 7 }));
  const values = Array.from({ length: 40 }, (_, i) => (i % 5 === 2 ? null : i * 3 - 20));

  it("is written by the fixture as others read it", async () => {
    const bytes = writeParquet([{ name: "x", type: "INT64", values, pageRows: 9 }]);
    const file = {
      byteLength: bytes.length,
      slice: (a: number, b?: number) => new Uint8Array(bytes.subarray(a, b)).slice().buffer,
    };
    expect(parquetMetadata(new Uint8Array(bytes).slice().buffer).num_rows).toBe(40n);
    const rows = await parquetReadObjects({ file });
    expect(rows.map(({ x }) => (x === null || x === undefined ? null : Number(x)))).toEqual(values);
  });

  it.each(["INT32", "INT64", "FLOAT", "DOUBLE"] as const)(
    "of %s: plain and dictionary, with nulls, of both versions",
    async (type) => {
      for (const dictionary of [false, true]) {
        for (const version of [1, 2] as const) {
          const rows = await read([{ name: "x", type, values, dictionary, version, pageRows: 11 }], {
            dense: ["x"],
            categorical: ["x"],
          });
          expect(rows.map((row) => row.dense![0])).toEqual(values.map((value) => value ?? 0));
          expect(rows.map((row) => row.categorical![0])).toEqual(values.map((value) => featureId(0, value ?? "")));
        }
      }
    },
  );

  it("of texts, also long ones", async () => {
    const texts = values.map((value) => (value === null ? null : "t".repeat(value + 20)));
    for (const dictionary of [false, true]) {
      const rows = await read([{ name: "s", type: "BYTE_ARRAY", values: texts, dictionary, pageRows: 13 }], {
        categorical: ["s"],
      });
      expect(rows.map((row) => row.categorical![0])).toEqual(texts.map((text) => featureId(0, text ?? "")));
    }
  });

  it("of times in every unit", async () => {
    const time = Date.UTC(2001, 8, 9, 1, 46, 40);
    const derived = { hour: { column: "t", part: "hour" } } as const;
    for (const [logical, factor] of [
      ["MILLIS", 1n],
      ["MICROS", 1000n],
      ["NANOS", 1_000_000n],
    ] as const) {
      const column = { name: "t", type: "INT64", logical, values: [BigInt(time) * factor] } as const;
      expect((await read([column], { derived, dense: ["hour"] }))[0]!.dense).toEqual([1]);
    }
  });

  it("of encodings that hyparquet decodes: booleans", async () => {
    const booleans = [true, false, null, true];
    const rows = await read([{ name: "b", type: "BOOLEAN", values: booleans }], { dense: ["b"], categorical: ["b"] });
    expect(rows.map((row) => row.dense![0])).toEqual([1, 0, 0, 1]);
    expect(rows.map((row) => row.categorical![0])).toEqual([1, 0, "", 1].map((value) => featureId(0, value)));
  });

  it("without a label is refused, unless a filter drops the row", async () => {
    const label = { column: "x", greaterThan: 0 } as const;
    const column = { name: "x", type: "INT64", values: [1, null, -1] } as const;
    await expect(read([column], { label })).rejects.toThrow("row 1 has no label; filter such rows out");
    const path = folder.write("labels.parquet", writeParquet([column]));
    const rows = await decodeAll(heap, parquet(path, { schema: { label } }).where({ column: "x", from: -10 }));
    expect(rows.map((row) => row.label![0])).toEqual([1, 0]);
  });

  it("packed with an unknown codec name it", async () => {
    const dataset = (codec: number): Dataset =>
      parquet(folder.write("codec.parquet", writeParquet([{ name: "x", type: "INT32", values: [1], codec }])), {
        schema: { dense: ["x"] },
      });
    await expect(decodeAll(heap, dataset(7))).rejects.toThrow(
      /compressed with LZ4 are not supported; write the file with zstd/,
    );
    expect((await decodeAll(heap, dataset(0))).length).toBe(1);
  });

  it("damaged anywhere never do more than fail", async () => {
    const columns: ParquetFixtureColumn[] = [
      { name: "x", type: "INT64", values, dictionary: true, pageRows: 8 },
      {
        name: "s",
        type: "BYTE_ARRAY",
        values: values.map((value) => (value === null ? null : `v${value}`)),
        pageRows: 8,
      },
    ];
    const bytes = writeParquet(columns);
    const schema: SchemaInput = { dense: ["x"], categorical: ["x", "s"] };
    let failures = 0;
    for (let at = 4; at < bytes.length - 8; at += 3) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= 0xff;
      await decodeAll(heap, parquet(folder.write("fuzz.parquet", damaged), { schema })).catch(() => failures++);
    }
    expect(failures).toBeGreaterThan(20);
  });
});
