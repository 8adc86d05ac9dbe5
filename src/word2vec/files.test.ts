// Files of vectors: read back by a reader of the test's own, loaded as others write them, refused where they are damaged.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "../data/testing.ts";
import { saveVectors } from "./vector-files.ts";
import type { VectorFormat } from "./vector-formats.ts";
import { WordVectors } from "./vectors.ts";

const folder = temporaryFolder();
afterAll(() => folder.dispose());
const maxBytes = 2 ** 24;

interface Vectors {
  readonly words: readonly string[];
  readonly dim: number;
  readonly rows: readonly Float32Array[];
}

const source = ({ words, dim, rows }: Vectors) => ({ words, dim, vectorAt: (number: number) => rows[number]! });

/** As gensim's KeyedVectors.load_word2vec_format reads both formats. */
function readPlainly(path: string, format: VectorFormat): Vectors {
  const file = readFileSync(path);
  const lineEnd = file.indexOf(10);
  const [count, dim] = file.subarray(0, lineEnd).toString().split(" ").map(Number) as [number, number];
  const words: string[] = [];
  const rows: Float32Array[] = [];
  if (format === "text") {
    for (const line of file
      .subarray(lineEnd + 1)
      .toString()
      .trimEnd()
      .split("\n")) {
      const [word, ...numbers] = line.split(" ");
      words.push(word!);
      rows.push(Float32Array.from(numbers, Number));
    }
  } else {
    for (let at = lineEnd + 1; words.length < count; ) {
      while (file[at] === 10) at++;
      const space = file.indexOf(32, at);
      words.push(file.subarray(at, space).toString());
      rows.push(Float32Array.from({ length: dim }, (_, i) => file.readFloatLE(space + 1 + 4 * i)));
      at = space + 1 + 4 * dim;
    }
  }
  expect(words.length).toBe(count);
  return { words, dim, rows };
}

const f32 = fc.float({ noNaN: true, noDefaultInfinity: true });
const vectors: fc.Arbitrary<Vectors> = fc
  .tuple(
    fc.uniqueArray(
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }).filter((word) => !/[\s\0]/.test(word)),
      {
        minLength: 1,
        maxLength: 12,
      },
    ),
    fc.integer({ min: 1, max: 9 }),
  )
  .chain(([words, dim]) =>
    fc.record({
      words: fc.constant(words),
      dim: fc.constant(dim),
      rows: fc.array(fc.float32Array({ minLength: dim, maxLength: dim, noNaN: true, noDefaultInfinity: true }), {
        minLength: words.length,
        maxLength: words.length,
      }),
    }),
  );

const example: Vectors = {
  words: ["king", "Königin", "語"],
  dim: 3,
  rows: [Float32Array.of(1, -2.5, 1e-20), Float32Array.of(0, 0.1, 3e20), Float32Array.of(1 / 3, 2, 3)],
};

describe.each(["text", "binary"] as const)("%s files", (format) => {
  test("are what another reader reads, and load again", async () => {
    const path = join(folder.path, `any.${format}`);
    await fc.assert(
      fc.asyncProperty(vectors, async (saved) => {
        await saveVectors(path, source(saved), format);
        const plain = readPlainly(path, format);
        expect(plain.words).toEqual(saved.words);
        expect(plain.rows.map((row) => [...row])).toEqual(
          saved.rows.map((row) => [...row].map((x) => (format === "text" ? x + 0 : x))),
        );
        const loaded = await WordVectors.load(path, { maxBytes });
        expect(loaded.words).toEqual(saved.words);
        for (const [i, row] of saved.rows.entries()) {
          expect([...loaded.vectorAt(i)].map((x) => x + 0)).toEqual([...row].map((x) => x + 0));
        }
      }),
      { numRuns: 40 },
    );
  });

  test("replace a file only when they are complete", async () => {
    const path = join(folder.path, `safe.${format}`);
    await saveVectors(path, source(example), format);
    const before = readFileSync(path);
    const failing = { ...source(example), words: ["a", "b", "two words"] };
    await expect(saveVectors(path, failing, format)).rejects.toThrow(/"two words" is empty or holds white space/);
    expect(readFileSync(path)).toEqual(before);
    expect(readdirSync(folder.path).filter((name) => name.includes("tmp"))).toEqual([]);
  });

  test("that are cut off anywhere are refused", async () => {
    const whole = join(folder.path, `whole.${format}`);
    await saveVectors(whole, source(example), format);
    const bytes = readFileSync(whole);
    const cut = join(folder.path, `cut.${format}`);
    // A text file still reads without its last line break, or with less digits; a binary one without its line break.
    const most = format === "binary" ? bytes.length - 1 : bytes.lastIndexOf(32);
    for (let length = 0; length < most; length++) {
      writeFileSync(cut, bytes.subarray(0, length));
      await expect(WordVectors.load(cut, { maxBytes }), `${length} bytes`).rejects.toThrow(/cut\.(text|binary)/);
    }
  });

  test("never crash the reader when bytes are changed", async () => {
    const whole = join(folder.path, `base.${format}`);
    await saveVectors(whole, source(example), format);
    const bytes = readFileSync(whole);
    const path = join(folder.path, `changed.${format}`);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(255), async (at, value) => {
        const changed = Buffer.from(bytes);
        changed[at] = value;
        writeFileSync(path, changed);
        await WordVectors.load(path, { maxBytes }).catch((error: Error) => expect(error.name).toBe("DataError"));
      }),
      { numRuns: 200 },
    );
  });
});

describe("files of others load", () => {
  const header = "2 3\n";
  const numbers = Buffer.from(Float32Array.of(1, 2, 3).buffer);
  const record = (word: string, end: string): Buffer =>
    Buffer.concat([Buffer.from(`${word} `), numbers, Buffer.from(end)]);
  test.each([
    ["word2vec.c, text", Buffer.from(`${header}</s> 1.000000 2.000000 3.000000 \nthe 1.000000 2.000000 3.000000 \n`)],
    ["fastText .vec", Buffer.from(`${header}</s> 1 2 3 \nthe 1 2 3 \n`)],
    ["gensim, text", Buffer.from(`${header}</s> 1.0 2.0 3.0\nthe 1.0 2e0 3.0\n`)],
    ["without the last line break", Buffer.from(`${header}</s> 1 2 3\nthe 1 2 3`)],
    ["from Windows", Buffer.from(`2 3\r\n</s> 1 2 3\r\nthe 1 2 3\r\n`)],
    ["word2vec.c, binary", Buffer.concat([Buffer.from(header), record("</s>", "\n"), record("the", "\n")])],
    ["gensim, binary", Buffer.concat([Buffer.from(header), record("</s>", ""), record("the", "")])],
  ])("%s, plain and by gzip", async (_, bytes) => {
    for (const content of [bytes, gzipSync(bytes)]) {
      const path = folder.write("other.bin", "");
      writeFileSync(path, content);
      const loaded = await WordVectors.load(path, { maxBytes });
      expect(loaded.words).toEqual(["</s>", "the"]);
      expect([...loaded.vector("the")]).toEqual([1, 2, 3]);
    }
  });

  test("of many vectors, in pieces", async () => {
    const rows = Array.from({ length: 5000 }, (_, i) => Float32Array.from({ length: 50 }, (_, j) => i + j / 64));
    const many = { words: rows.map((_, i) => `word-${i}`), dim: 50, rows };
    for (const format of ["text", "binary"] as const) {
      const path = join(folder.path, "many");
      await saveVectors(path, source(many), format);
      const loaded = await WordVectors.load(path, { maxBytes });
      expect(loaded.words).toEqual(many.words);
      for (const i of [0, 1234, 4999]) expect([...loaded.vectorAt(i)]).toEqual([...rows[i]!]);
    }
  });
});

test.each([
  ["nothing at all", "", /is no file of word vectors: its first line is not "WORDS DIM"/],
  ["a picture", Buffer.from("89504e470d0a1a0a0000000d", "hex"), /is no file of word vectors/],
  ["words without a header", "king 1 2 3\nqueen 1 2 3\n", /is no file of word vectors/],
  [
    "more than memory holds",
    "900000000000 65536\nking 1",
    /says that it has 900000000000 vectors of 65536 numbers, but it is too short/,
  ],
  ["packed promises", gzipSync("4000000 1000\nking 1"), /too short for them/],
  ["numbers that are none", "1 2\nking 1 x7\n", /ends, or is damaged, at word 1|"x7" is no number/],
  [
    "a bad line in the middle",
    "3 2\nking 1 2\nqueen 1\nprince 1 2\n",
    /bad:3: expected a word and 2 numbers, found 1 after "queen"/,
  ],
  [
    "a number that is too large",
    "2 2\nking 1 2\nqueen 1 1e999\n",
    /bad:3: "1e999" is no number \(of the word "queen"\)/,
  ],
  ["a word twice", "2 1\nking 1\nking 2\n", /has the word "king" twice/],
  ["more words than it says", "1 1\nking 1\nqueen 2\n", /has more than the 1 vectors that it says/],
])("a file of %s is refused", async (_, content, message) => {
  const path = folder.write("bad", "");
  writeFileSync(path, content);
  await expect(WordVectors.load(path, { maxBytes })).rejects.toThrow(message);
});

test("numbers keep all of their bits in text", () => {
  fc.assert(
    fc.property(f32, (value) => {
      expect(Math.fround(Number(Number(value.toPrecision(9)).toString())) + 0).toBe(value + 0);
    }),
  );
});
