import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { Heap } from "../memory/index.ts";
import { csv, type Dataset } from "./dataset.ts";
import type { BadLine } from "./errors.ts";
import { crossId, featureId } from "./feature-hash.ts";
import type { SchemaInput } from "./schema.ts";
import { decodeAll, type Row, temporaryFolder } from "./testing.ts";

const heap = Heap.create({ maxBytes: 2 ** 26 });
const folder = temporaryFolder();
afterAll(() => folder.dispose());

let files = 0;
const fileOf = (text: string): string => folder.write(`${files++}.csv`, text);
const read = (text: string, schema: SchemaInput, more: object = {}): Promise<Row[]> =>
  decodeAll(heap, csv(fileOf(text), { schema, ...more }));

async function badLines(text: string, schema: SchemaInput, more: object = {}): Promise<[number, BadLine[]]> {
  const bad: BadLine[] = [];
  const rows = await decodeAll(heap, csv(fileOf(text), { schema, ...more }), { badLines: bad });
  return [rows.length, bad];
}

const ids = (...values: string[]): bigint[] => values.map((value, j) => featureId(j, value));

describe("CSV fields", () => {
  const field = fc.string({ maxLength: 12, unit: fc.constantFrom("a", "b", ",", '"', " ", "é", "\r", "1") });

  it.each([false, true])("come back as they were written (line breaks in fields: %s)", async (multiline) => {
    const cell = multiline
      ? fc.oneof(
          field,
          field.map((text) => `${text}\n${text}`),
        )
      : field;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(cell, cell, cell), { minLength: 1, maxLength: 20 }),
        fc.constantFrom("\n", "\r\n"),
        fc.boolean(),
        async (table, newline, quoteAll) => {
          const write = (text: string): string =>
            quoteAll || /[",\n\r]/.test(text) || text === "" ? `"${text.replaceAll('"', '""')}"` : text;
          const text = `x,y,z${newline}${table.map((row) => row.map(write).join(",")).join(newline)}`;
          const rows = await read(text, { categorical: ["x", "y", "z"] }, { multiline });
          expect(rows.map((row) => row.categorical)).toEqual(table.map((row) => ids(...row)));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("may stand in another order than the schema and be left out", async () => {
    const rows = await read("d,c,b,a\n4,3,2,1\n", { categorical: ["a", "c"] });
    expect(rows[0]!.categorical).toEqual(ids("1", "3"));
  });

  it("lose blanks with trim, quotes where they are, and markers of missing values", async () => {
    const rows = await read(
      "a;b;c\n x ; 'y;z' ;NA\n?; ''; \n",
      { categorical: ["a", "b", "c"] },
      {
        delimiter: ";",
        quote: "'",
        trim: true,
        missing: ["?", "NA"],
      },
    );
    expect(rows.map((row) => row.categorical)).toEqual([ids("x", "y;z", ""), ids("", "", "")]);
  });

  it("keep quotes that are ordinary characters", async () => {
    const rows = await read('a,b\n"x,5"y\n', { categorical: ["a", "b"] }, { quote: false });
    expect(rows[0]!.categorical).toEqual(ids('"x', '5"y'));
  });

  it("take their names from options where there is no header, after lines to skip and a byte order mark", async () => {
    const more = { header: false, columns: ["a", "b"], skipLines: 2 };
    const rows = await read("\ufeff# one\n# two\n1,2\n\n3,4", { categorical: ["b"] }, more);
    expect(rows.map((row) => row.categorical)).toEqual([ids("2"), ids("4")]);
  });

  it("start after a byte order mark also where no header follows it", async () => {
    const rows = await read("\ufeff1,2\n3,4", { categorical: ["a"] }, { header: false, columns: ["a", "b"] });
    expect(rows.map((row) => row.categorical)).toEqual([ids("1"), ids("3")]);
  });

  it("span more rows than a block and more text than a buffer", async () => {
    const lines = Array.from({ length: 5000 }, (_, i) => `${i},"${"q".repeat(i % 300)}"`);
    const rows = await read(`a,b\n${lines.join("\n")}\n`, { categorical: ["a", "b"] });
    expect(rows.map((row) => row.categorical)).toEqual(lines.map((_, i) => ids(String(i), "q".repeat(i % 300))));
  });
});

describe("CSV schema", () => {
  it("parses numbers like JavaScript does", async () => {
    const number = fc.oneof(
      fc.integer().map(String),
      fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e30, max: 1e30 }).map(String),
      fc.constantFrom("+5", "-0.5", ".25", "7.", "1e3", "1E-3", "-2.5e+2", "123456789012345678901234567890", "1e-310"),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(number, { minLength: 1, maxLength: 50 }), async (numbers) => {
        const rows = await read(`x\n${numbers.join("\n")}`, { dense: ["x"] });
        rows.forEach((row, i) => {
          const expected = Math.fround(Number(numbers[i]));
          expect(Math.abs((row.dense![0] as number) - expected)).toBeLessThanOrEqual(Math.abs(expected) * 1.2e-7);
        });
      }),
      { numRuns: 40 },
    );
  });

  it("transforms dense columns; missing ones are 0", async () => {
    const schema: SchemaInput = {
      dense: ["x", { column: "x", transform: "log" }, { column: "x", transform: { mean: 10, scale: 4 } }],
    };
    const rows = await read("x,y\n0,1\n5,1\n-3,1\n1e6,1\n,1", schema);
    const expected = [0, 5, -3, 1e6].map((x) => [x, Math.log1p(Math.max(0, x)), (x - 10) / 4]);
    [...expected, [0, 0, 0]].forEach((values, i) => {
      values.forEach((value, j) => {
        expect(rows[i]!.dense![j]).toBeCloseTo(value, 5);
      });
    });
  });

  it("makes labels of texts and numbers", async () => {
    const text = "l,n\nyes,15\nno,16\nyes.,14\n";
    const labels = async (label: SchemaInput["label"]): Promise<unknown> =>
      (await read(text, { label, categorical: ["l"] } as SchemaInput)).map((row) => row.label![0]);
    expect(await labels({ column: "l", equals: ["yes", "yes."] })).toEqual([1, 0, 1]);
    expect(await labels({ column: "n", equals: 15 })).toEqual([1, 0, 0]);
    expect(await labels({ column: "n", greaterThan: 15 })).toEqual([0, 1, 0]);
    expect(await labels({ column: "n", greaterOrEqual: 15 })).toEqual([1, 1, 0]);
    expect(await labels({ column: "n" })).toEqual([15, 16, 14]);
  });

  it("crosses, buckets and splits", async () => {
    const schema: SchemaInput = {
      categorical: [
        { cross: ["a", { column: "n", bucketize: [0, 10] }] },
        { column: "n", bucketize: [0, 10] },
        { cross: ["a", "n", "tags"] },
      ],
      bags: { tags: { column: "tags", separator: "|", max: 3 } },
    };
    const rows = await read("a,n,tags\nx,-1,p|q\ny,10,\nz,,p||q|r|s\n", schema);
    expect(rows.map((row) => row.categorical)).toEqual([
      [crossId(0, ["x", 0]), featureId(1, 0), crossId(2, ["x", "-1", "p|q"])],
      [crossId(0, ["y", 2]), featureId(1, 2), crossId(2, ["y", "10", ""])],
      [crossId(0, ["z", ""]), featureId(1, ""), crossId(2, ["z", "", "p||q|r|s"])],
    ]);
    expect(rows.map((row) => row.tags)).toEqual([
      [featureId(3, "p"), featureId(3, "q"), 0n],
      [0n, 0n, 0n],
      [featureId(3, "p"), featureId(3, "q"), featureId(3, "r")],
    ]);
  });

  it("derives parts of dates in UTC", async () => {
    const moment = fc.date({ min: new Date("1600-01-01"), max: new Date("2400-01-01"), noInvalidDate: true });
    const write = fc.constantFrom<(date: Date) => string>(
      (date) => date.toISOString(),
      (date) => date.toISOString().slice(0, 19).replace("T", " "),
      (date) => date.toISOString().slice(0, 16),
      (date) => date.toISOString().slice(0, 10),
      (date) => String(date.getTime()),
      (date) => new Date(date.getTime() + 5.5 * 3600e3).toISOString().replace("Z", "+05:30"),
    );
    const part = (part: string): object => ({ column: "t", part });
    const schema = {
      derived: { h: part("hour"), w: part("weekday"), m: part("month"), d: part("dayOfMonth") },
      dense: ["h", "w", "m", "d"],
      categorical: [{ cross: ["h", "w"] }],
    } as unknown as SchemaInput;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(moment, write), { minLength: 1, maxLength: 30 }), async (moments) => {
        const texts = moments.map(([date, writer]) => writer(date));
        const rows = await read(`t\n${texts.join("\n")}`, schema);
        rows.forEach((row, i) => {
          const date = new Date(
            /^-?\d+$/.test(texts[i]!)
              ? Number(texts[i])
              : texts[i]!.replace(/^(.{10})$/, "$1Z")
                  .replace(" ", "T")
                  .replace(/T(\d\d:\d\d(:\d\d)?)$/, "T$1Z"),
          );
          const parts = [date.getUTCHours(), date.getUTCDay(), date.getUTCMonth() + 1, date.getUTCDate()];
          expect([texts[i], ...(row.dense as number[])]).toEqual([texts[i], ...parts]);
          expect(row.categorical![0]).toBe(crossId(0, [parts[0]!, parts[1]!]));
        });
      }),
      { numRuns: 30 },
    );
  });

  it("counts plain times in the given unit", async () => {
    const derived = { h: { column: "t", part: "hour", unit: "s" } } as const;
    expect((await read("t\n881250949\n", { derived, dense: ["h"] }))[0]!.dense).toEqual([
      new Date(881250949e3).getUTCHours(),
    ]);
  });

  it("filters by ranges, half open, of numbers and times", async () => {
    const text = "n,t\n1,2001-01-01\n2,2001-06-01\n3,2001-12-31\n,2002-01-01\n";
    const path = fileOf(text);
    const all = csv(path, { schema: { dense: ["n"] } });
    const numbers = async (dataset: Dataset): Promise<unknown> =>
      (await decodeAll(heap, dataset)).map((row) => row.dense![0]);
    expect(await numbers(all.where({ column: "n", from: 2 }))).toEqual([2, 3]);
    expect(await numbers(all.where({ column: "n", to: 2 }))).toEqual([1]);
    expect(await numbers(all.where({ column: "t", from: "2001-06-01", to: "2002-01-01" }))).toEqual([2, 3]);
    expect(await numbers(all.where({ column: "t", from: "2001-06-01" }, { column: "n", to: 3 }))).toEqual([2]);
  });

  it("splits rows by position into parts that cover all", async () => {
    const path = fileOf(`n\n${Array.from({ length: 1000 }, (_, i) => i).join("\n")}`);
    const all = csv(path, { schema: { dense: ["n"] } });
    const numbers = async (dataset: Dataset): Promise<number[]> =>
      (await decodeAll(heap, dataset)).map((row) => row.dense![0] as number);
    const train = await numbers(all.where({ rows: { to: 0.9 } }));
    const test = await numbers(all.where({ rows: { from: 0.9 } }));
    expect([...train, ...test]).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(Math.abs(test.length - 100)).toBeLessThan(5);
    const shards = await Promise.all([0, 1, 2].map((rank) => numbers(all.shard({ rank, worldSize: 3 }))));
    expect(shards.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  });
});

describe("bad CSV lines", () => {
  const schema: SchemaInput = { label: { column: "l" }, dense: ["x"], categorical: ["c"] };

  it.each([
    ["1,2", 'expected 3 fields, found 2 in "1,2"'],
    ["1,2,3,4", "expected 3 fields, found 4"],
    ["1,abc,c", 'column 2 (x): expected a number or a time, found "abc"'],
    ["1,1e,c", 'found "1e"'],
    ["1,-,c", 'found "-"'],
    ["1,1.2.3,c", 'found "1.2.3"'],
    [",2,c", 'column 1 (l): expected a number for the label, found ""'],
    ['1,2,"c', "column 3 (c): a quoted field is not closed"],
    ['1,"2"x,c', "column 2 (x): a quoted field is not closed, or text follows its closing quote"],
  ])("says what is wrong with %j", async (bad, problem) => {
    const [rows, lines] = await badLines(`l,x,c\n1,2,c\n${bad}\n0,4,"d"\n`, schema);
    expect(lines.map((line) => line.problem)).toEqual([expect.stringContaining(problem)]);
    expect(lines[0]!.offset).toBe(12);
    expect(rows).toBe(2);
  });

  it("reports an unclosed quote at the end of a file whose fields may hold line breaks", async () => {
    const [rows, lines] = await badLines('l,x,c\n1,2,"a\nb"\n1,2,"open\n3,4,c\n', schema, { multiline: true });
    expect([rows, lines.length]).toEqual([2, 1]);
    expect(lines[0]!.problem).toContain("not closed");
  });

  it("looks for a closing quote no further than the text, whatever lies behind it", async () => {
    const untouched = Heap.create({ maxBytes: 2 ** 24 });
    const dataset = csv(fileOf('l,x,c\n"'), { schema, multiline: true });
    const bad: BadLine[] = [];
    expect(await decodeAll(untouched, dataset, { badLines: bad })).toEqual([]);
    expect(bad.map((line) => line.problem)).toEqual([expect.stringContaining("not closed")]);
  });

  it.each(["2001-02-29", "2001-13-01", "2001-01-01T24:00", "2001-01-01Tx", "2001-01-01 10:00+25:00"])(
    "refuses the time %s",
    async (time) => {
      const derived = { h: { column: "t", part: "hour" } } as const;
      const [, lines] = await badLines(`t\n${time}\n`, { derived, dense: ["h"] });
      expect(lines.map((line) => line.problem)).toEqual([`column 1 (t): expected a number or a time, found "${time}"`]);
    },
  );

  it("survives any bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), fc.boolean(), async (bytes, multiline) => {
        const path = folder.write("fuzz.csv", Buffer.concat([Buffer.from("l,x,c\n"), bytes]));
        await decodeAll(heap, csv(path, { schema, multiline }), { badLines: [] });
      }),
      { numRuns: 100 },
    );
  });
});
