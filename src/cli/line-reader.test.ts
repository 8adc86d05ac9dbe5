import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LineReader } from "./line-reader.ts";

async function* stream(chunks: readonly (string | Buffer)[]): AsyncGenerator<Buffer> {
  for (const chunk of chunks) {
    await setImmediate();
    yield Buffer.from(chunk);
  }
}

async function blocksOf(lines: LineReader): Promise<string[]> {
  const blocks: string[] = [];
  for (let block = await lines.block(); block !== undefined; block = await lines.block()) blocks.push(String(block));
  return blocks;
}

describe("LineReader", () => {
  it("gives back every byte in blocks of whole lines, however it comes in pieces", async () => {
    const chunk = fc.string({ unit: fc.constantFrom("a", "b", "\n"), maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(fc.array(chunk, { maxLength: 12 }), async (chunks) => {
        const blocks = await blocksOf(new LineReader(stream(chunks), "test"));
        expect(blocks.join("")).toBe(chunks.join(""));
        for (const block of blocks.slice(0, -1)) expect(block.endsWith("\n")).toBe(true);
        for (const block of blocks) expect(block).not.toBe("");
      }),
    );
  });

  it("gives single lines before blocks", async () => {
    const lines = new LineReader(stream(["he", "ad\nfir", "st\nsecond"]), "test");
    expect(String(await lines.line())).toBe("head\n");
    expect((await blocksOf(lines)).join("")).toBe("first\nsecond");
    expect(await lines.line()).toBeUndefined();
  });

  it("keeps no more than it must for a reader that is busy", async () => {
    const megabyte = Buffer.alloc(2 ** 20, "x\n");
    let taken = 0;
    async function* endless(): AsyncGenerator<Buffer> {
      for (; taken < 200; taken++) yield megabyte;
    }
    const lines = new LineReader(endless(), "test");
    const first = (await lines.block())!;
    await setImmediate();
    expect(taken).toBeLessThan(80);
    const rest = await blocksOf(lines);
    expect(first.length + rest.reduce((sum, block) => sum + block.length, 0)).toBe(200 * 2 ** 20);
    expect(Math.max(...rest.map((block) => block.length))).toBeLessThanOrEqual(33 * 2 ** 20);
  });

  it("passes on what went wrong, and refuses what is no text", async () => {
    async function* broken(): AsyncGenerator<Buffer> {
      yield Buffer.from("a\n");
      throw new Error("unplugged");
    }
    await expect(blocksOf(new LineReader(broken(), "test"))).rejects.toThrow("unplugged");
    const long = Array.from({ length: 40 }, () => Buffer.alloc(2 ** 20, "x"));
    await expect(blocksOf(new LineReader(stream(long), "test"))).rejects.toThrow(
      "test: a line has more than 33554432 bytes",
    );
  });
});
