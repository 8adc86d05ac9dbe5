import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { Heap } from "../memory/index.ts";
import { temporaryFolder } from "./testing.ts";
import { LINE_LIMIT, lineNumber, TextBlocks } from "./text-blocks.ts";

const heap = Heap.create({ maxBytes: 2 ** 26 });
const folder = temporaryFolder();
afterAll(() => folder.dispose());

/** All lines of a range, and where each starts. */
async function linesOf(path: string, gzip: boolean, start: number, end: number): Promise<[number, string][]> {
  const blocks = new TextBlocks(heap);
  const lines: [number, string][] = [];
  blocks.open(path, gzip, start, end);
  try {
    while (await blocks.advance()) {
      const text = Buffer.from(heap.u8(blocks.begin, blocks.end - blocks.begin)).toString();
      expect(text.endsWith("\n")).toBe(true);
      for (const line of text.slice(0, -1).split("\n")) {
        lines.push([blocks.offsetOf(blocks.begin), line]);
        blocks.begin += Buffer.byteLength(line) + 1;
      }
    }
  } finally {
    blocks.close();
    blocks.free();
  }
  return lines;
}

function offsetsOf(lines: readonly string[]): [number, string][] {
  let at = 0;
  return lines.map((line) => {
    const start = at;
    at += Buffer.byteLength(line) + 1;
    return [start, line];
  });
}

describe("TextBlocks", () => {
  it("gives each line to the one range in which it starts", async () => {
    const someLines = fc.array(
      fc.string({ maxLength: 30 }).map((s) => s.replaceAll("\n", "")),
      { minLength: 1 },
    );
    await fc.assert(
      fc.asyncProperty(
        someLines,
        fc.array(fc.nat(500)),
        fc.boolean(),
        fc.boolean(),
        async (lines, cuts, gzip, ended) => {
          if (!ended && lines.at(-1) === "") lines.push("x");
          const bytes = Buffer.from(lines.join("\n") + (ended ? "\n" : ""));
          const path = folder.write("cuts", gzip ? gzipSync(bytes) : bytes);
          const bounds = [0, ...new Set(cuts.filter((cut) => cut > 0 && cut < bytes.length)), bytes.length].sort(
            (a, b) => a - b,
          );
          const found: [number, string][] = [];
          for (let i = 0; i + 1 < bounds.length; i++)
            found.push(...(await linesOf(path, gzip, bounds[i]!, bounds[i + 1]!)));
          expect(found).toEqual(offsetsOf(lines));
        },
      ),
      { numRuns: 60 },
    );
  });

  it.each([false, true])("carries lines over blocks (gzip: %s)", async (gzip) => {
    const lines = Array.from({ length: 900 }, (_, i) => `${i} ${"x".repeat((i * 7919) % 3000)}`);
    const bytes = Buffer.from(lines.join("\n"));
    const path = folder.write("long", gzip ? gzipSync(bytes) : bytes);
    expect(await linesOf(path, gzip, 0, Number.POSITIVE_INFINITY)).toEqual(offsetsOf(lines));
    const half = offsetsOf(lines)[450]![0];
    expect(await linesOf(path, gzip, half, Number.POSITIVE_INFINITY)).toEqual(offsetsOf(lines).slice(450));
  });

  it("reads gzip files of several members, and empty files", async () => {
    const path = folder.write("members.gz", Buffer.concat([gzipSync("a\nb"), gzipSync("c\n"), gzipSync("")]));
    expect(await linesOf(path, true, 0, Number.POSITIVE_INFINITY)).toEqual([
      [0, "a"],
      [2, "bc"],
    ]);
    expect(await linesOf(folder.write("empty", ""), false, 0, 0)).toEqual([]);
  });

  it("says where a line is too long, and which gzip file is cut off", async () => {
    const path = folder.write("wide", `short\n${"x".repeat(3 * LINE_LIMIT)}`);
    await expect(linesOf(path, false, 0, 1e9)).rejects.toThrow(
      /wide: a line of more than 262144 bytes starts at byte 6/,
    );
    const cut = folder.write("cut.gz", gzipSync("some text\n".repeat(1000)).subarray(0, 40));
    await expect(linesOf(cut, true, 0, 1e9)).rejects.toThrow(/cut.gz: is a damaged or cut off gzip file/);
  });
});

describe("lineNumber", () => {
  it.each([false, true])("counts the line breaks before an offset (gzip: %s)", async (gzip) => {
    const text = "a\nbb\n\nc\n".repeat(30_000);
    const path = folder.write("numbers", gzip ? gzipSync(text) : text);
    expect(await lineNumber(path, gzip, 0)).toBe(1);
    expect(await lineNumber(path, gzip, 1)).toBe(1);
    expect(await lineNumber(path, gzip, 2)).toBe(2);
    expect(await lineNumber(path, gzip, 8 * 20_000 + 5)).toBe(80_003);
  });
});
