import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { Heap } from "../memory/index.ts";
import { CriteoParser, criteoProblem } from "./criteo-decoder.ts";
import { criteo } from "./dataset.ts";
import type { BadLine } from "./errors.ts";
import { featureId } from "./feature-hash.ts";
import type { CriteoSpec } from "./spec.ts";
import { decodeAll, numberedLines, type Row, rowsOf, temporaryFolder } from "./testing.ts";

const heap = Heap.create({ maxBytes: 2 ** 26 });
const folder = temporaryFolder();
afterAll(() => folder.dispose());

/** The plain twin of the kernel. */
function parseNaively(line: string, buckets?: number): Row {
  const fields = line.split("\t");
  const integers = fields.slice(1, 14).map((field) => (field === "" ? 0 : Math.max(0, Number(field))));
  return {
    label: [Number(fields[0])],
    dense: integers.map((value) => Math.log1p(value)),
    categorical: fields.slice(14).map((value, j) => featureId(j, value, buckets)),
  };
}

const dataset = criteo("unused", { batch: 16 });
const parser = new CriteoParser(heap, dataset.spec as CriteoSpec, dataset.layout);
const slot = heap.alloc(dataset.layout.bytes);
const TEXT_BYTES = 1 << 16;
const text = heap.alloc(TEXT_BYTES + 64);

function parse(bytes: Uint8Array): { rows: Row[]; bad: boolean; at: number } {
  heap
    .u8(text, TEXT_BYTES + 64)
    .fill(0xaa)
    .set(bytes);
  const n = parser.parse(text, text + bytes.length, slot, 0, 16);
  expect(parser.at).toBeLessThanOrEqual(text + bytes.length);
  return { rows: rowsOf(heap, dataset.layout, slot, n), bad: parser.atBadLine, at: parser.at - text };
}

function expectRow(actual: Row, expected: Row): void {
  expect(actual.label).toEqual(expected.label);
  expect(actual.categorical).toEqual(expected.categorical);
  (actual.dense as number[]).forEach((value, i) => {
    expect(Math.abs(value - (expected.dense![i] as number))).toBeLessThan(3e-6);
  });
}

const integer = fc.oneof(
  fc.constant(""),
  fc.integer({ min: -3, max: 40 }).map(String),
  fc.bigInt({ min: -(10n ** 18n) + 1n, max: 10n ** 18n - 1n }).map(String),
  fc.constant("007"),
);
const hex = fc.integer({ min: 0, max: 0xffffffff }).map((n) => n.toString(16).padStart(8, "0"));
const category = fc.oneof(
  fc.constant(""),
  hex,
  fc.string({ maxLength: 40, unit: fc.constantFrom("a", "Z", "0", " ", "é", "ß", "-", "\u000e", "語") }),
);
const line = fc
  .tuple(
    fc.constantFrom("0", "1"),
    fc.array(integer, { minLength: 13, maxLength: 13 }),
    fc.array(category, { minLength: 26, maxLength: 26 }),
  )
  .map(([label, integers, categories]) => [label, ...integers, ...categories].join("\t"));

describe("the Criteo kernel", () => {
  it("agrees with a naive parser on valid lines", () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), fc.constantFrom("\n", "\r\n"), (lines, newline) => {
        const result = parse(Buffer.from(lines.map((l) => l + newline).join("")));
        expect(result.bad).toBe(false);
        expect(result.rows.length).toBe(lines.length);
        lines.forEach((l, i) => {
          expectRow(result.rows[i]!, parseNaively(l));
        });
      }),
    );
  });

  it("refuses exactly the lines that the slow check finds fault with", () => {
    const edit = fc.tuple(fc.nat(400), fc.constantFrom("", "\t", "x", "-", "1", "\r", "\0", "9999999999"));
    fc.assert(
      fc.property(line, fc.array(edit, { minLength: 1, maxLength: 3 }), (valid, edits) => {
        let mutated = valid;
        for (const [at, insert] of edits) {
          const where = at % (mutated.length + 1);
          mutated = mutated.slice(0, where) + insert + mutated.slice(insert === "" ? where + 1 : where);
        }
        const result = parse(Buffer.from(`${mutated}\n`));
        if (mutated.replace(/\r$/, "") === "") return;
        const problem = criteoProblem(Buffer.from(mutated).toString("latin1"));
        expect([result.bad, mutated]).toEqual([!problem.startsWith("cannot be parsed"), mutated]);
      }),
      { numRuns: 500 },
    );
  });

  it("never leaves the text, whatever the bytes", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 600 }),
      fc.array(fc.constantFrom(9, 10, 13, 45, 48, 49, 0, 255), { maxLength: 600 }).map((list) => Uint8Array.from(list)),
    );
    fc.assert(
      fc.property(bytes, (garbage) => {
        const result = parse(Uint8Array.from([...garbage, 10]));
        if (!result.bad && result.rows.length < 16) expect(result.at).toBe(garbage.length + 1);
      }),
      { numRuns: 500 },
    );
  });

  it("stops after the rows that it is asked for", () => {
    const lines = numberedLines(3);
    heap.u8(text, TEXT_BYTES).set(Buffer.from(`${lines.join("\n")}\n`));
    expect(parser.parse(text, text + lines.join("\n").length + 1, slot, 5, 2)).toBe(2);
    expect(parser.at - text).toBe(lines[0]!.length + lines[1]!.length + 2);
    expectRow(rowsOf(heap, dataset.layout, slot, 7)[6]!, parseNaively(lines[1]!));
  });

  it("folds ids into buckets", async () => {
    const lines = numberedLines(20);
    const path = folder.write("buckets.tsv", lines.join("\n"));
    const rows = await decodeAll(heap, criteo(path, { buckets: 100 }));
    rows.forEach((row, i) => {
      expectRow(row, parseNaively(lines[i]!, 100));
    });
  });
});

describe("Criteo lines without labels", () => {
  const unlabelled = (line: string): string => line.slice(line.indexOf("\t") + 1);

  it("give the rows of the labelled lines, with label 0", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 8 }), async (lines) => {
        const path = folder.write("unlabelled.tsv", lines.map(unlabelled).join("\n"));
        const rows = await decodeAll(heap, criteo(path, { labels: false }));
        expect(rows.length).toBe(lines.length);
        lines.forEach((labelled, i) => {
          expectRow(rows[i]!, { ...parseNaively(labelled), label: [0] });
        });
      }),
      { numRuns: 30 },
    );
  });

  it("are named by their own columns when they are bad", async () => {
    const good = unlabelled(numberedLines(1)[0]!);
    const bad = [
      [`0\t${good}`, "expected 39 tab-separated fields (13 integers, 26 categories), found 40"],
      [good.split("\t").with(0, "x").join("\t"), "column 1 (integer 1): expected an integer of at most 18 digits"],
      [good.split("\t").with(13, "\0").join("\t"), "column 14 (category 1): expected text without control"],
    ] as const;
    const path = folder.write("bad-unlabelled.tsv", bad.map(([text]) => `${text}\n${good}\n`).join(""));
    const badLines: BadLine[] = [];
    expect((await decodeAll(heap, criteo(path, { labels: false }), { badLines })).length).toBe(3);
    bad.forEach(([, problem], i) => {
      expect(badLines[i]!.problem).toContain(problem);
    });
  });
});

describe("bad Criteo lines", () => {
  const good = numberedLines(1)[0]!;
  const withField = (index: number, value: string): string => good.split("\t").with(index, value).join("\t");

  it.each([
    [withField(0, "2"), 'column 1 (label): expected 0 or 1, found "2"'],
    [withField(0, ""), 'column 1 (label): expected 0 or 1, found ""'],
    [withField(5, "1.5"), 'column 6 (integer 5): expected an integer of at most 18 digits or nothing, found "1.5"'],
    [withField(13, "1".repeat(19)), `found "${"1".repeat(19)}"`],
    [withField(20, "a\0b"), 'column 21 (category 7): expected text without control characters, found "a\\u0000b"'],
    [`${good}\tmore`, "expected 40 tab-separated fields (label, 13 integers, 26 categories), found 41"],
    ["1\t2\t3", 'found 3 in "1\\t2\\t3"'],
    [`${"x".repeat(100)}`, `found "${"x".repeat(40)}"… (100 characters)`],
  ])("says what is wrong with %j", async (bad, problem) => {
    const badLines: BadLine[] = [];
    const path = folder.write("bad.tsv", `${good}\n${bad}\n${good}\n`);
    expect((await decodeAll(heap, criteo(path), { badLines })).length).toBe(2);
    expect(badLines.length).toBe(1);
    expect(badLines[0]!.problem).toContain(problem);
    expect(badLines[0]!.offset).toBe(good.length + 1);
  });
});
