// Damage: whatever happens to the bytes of a checkpoint, it does not load, says which file and why, and takes no memory
// that the files do not have.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CheckpointError } from "./error.ts";
import { encodeManifest } from "./manifest.ts";
import { openCheckpoint } from "./open.ts";
import { SafetensorsFile, writeSafetensors } from "./safetensors.ts";
import { saveCheckpoint } from "./save.ts";

let folder: string;
let good: string;
let files: string[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "flotilla-damage-"));
  good = join(folder, "good");
  const weights = Float32Array.from({ length: 40 }, (_, i) => i / 7);
  await saveCheckpoint(good, {
    tensors: [{ name: "w", dtype: "F32", shape: [4, 10], data: weights }],
    tables: [
      {
        name: "t",
        rows: 5,
        columns: [{ name: "v", width: 8 }],
        chunks: () => [{ rows: 5, keys: BigUint64Array.of(1n, 2n, 3n, 4n, 5n), columns: [weights] }],
      },
    ],
    state: { step: 3 },
  });
  files = readdirSync(good);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A fresh copy of the checkpoint, with one file changed. */
function damaged(file: string, change: (bytes: Buffer) => Uint8Array): string {
  const path = join(folder, "damaged");
  rmSync(path, { recursive: true, force: true });
  cpSync(good, path, { recursive: true });
  writeFileSync(join(path, file), change(readFileSync(join(path, file))));
  return path;
}

const flip = (place: number, mask: number) => (bytes: Buffer) => {
  const at = Math.floor(place * bytes.length);
  bytes[at] = bytes[at]! ^ mask;
  return bytes;
};
const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

test("any changed byte in any file is found", async () => {
  const property = fc.asyncProperty(
    fc.constantFrom(...files),
    place,
    fc.integer({ min: 1, max: 255 }),
    async (file, at, mask) => {
      const path = damaged(file, flip(at, mask));
      await expect(openCheckpoint(path)).rejects.toThrow(CheckpointError);
      await expect(openCheckpoint(path)).rejects.toThrow(file);
    },
  );
  await fc.assert(property, { numRuns: 150 });
});

test("any truncation and any growth of any file is found, also without hashing", async () => {
  const property = fc.asyncProperty(fc.constantFrom(...files), place, fc.boolean(), async (file, at, verify) => {
    const cut = damaged(file, (bytes) => bytes.subarray(0, Math.floor(at * bytes.length)));
    await expect(openCheckpoint(cut, { verify })).rejects.toThrow(CheckpointError);
    const grown = damaged(file, (bytes) => Buffer.concat([bytes, Buffer.alloc(1 + Math.floor(at * 20), 0x20)]));
    await expect(openCheckpoint(grown, { verify })).rejects.toThrow(CheckpointError);
  });
  await fc.assert(property, { numRuns: 60 });
});

test("a missing file is found", async () => {
  for (const file of files) {
    const path = damaged(file, (bytes) => bytes);
    rmSync(join(path, file));
    await expect(openCheckpoint(path)).rejects.toThrow(
      file === "manifest.json" ? /is no checkpoint: it has no manifest/ : /is missing/,
    );
  }
});

describe("what is no checkpoint, or not ours to read, says so", () => {
  test("nothing, a file, a folder", async () => {
    await expect(openCheckpoint(join(folder, "nothing"))).rejects.toThrow(/there is no such folder; check the path/);
    await expect(openCheckpoint(join(good, "state.json"))).rejects.toThrow(/is a file; a checkpoint is a folder/);
    await expect(openCheckpoint(folder)).rejects.toThrow(/is no checkpoint: it has no manifest.json/);
  });

  test.each([
    ["another program's manifest", '{"name":"x"}', /belongs to another program/],
    ["no object", "[]", /belongs to another program/],
    ["half a manifest", '{"format": "flotilla-check', /is not JSON, so it is damaged or truncated/],
    ["invalid UTF-8", Buffer.from([0x22, 0xff, 0x22]), /cannot be read, it may be damaged/],
  ])("%s", async (_, text, message) => {
    await expect(openCheckpoint(damaged("manifest.json", () => Buffer.from(text as string)))).rejects.toThrow(message);
  });

  test("another version", async () => {
    const path = damaged("manifest.json", (bytes) => rewritten(bytes, { version: 2 }));
    await expect(openCheckpoint(path)).rejects.toThrow(
      /has format version 2, this program reads version 1; use the version/,
    );
  });

  test("a manifest that leads out of its folder", async () => {
    const tensors = ["../good/dense.safetensors"];
    const path = damaged("manifest.json", (bytes) => rewritten(bytes, { tensors }));
    await expect(openCheckpoint(path)).rejects.toThrow(/is malformed/);
  });

  test("a manifest that uses what it does not list, or whose counts do not fit the files", async () => {
    const unlisted = damaged("manifest.json", (bytes) => rewritten(bytes, { tensors: ["other.safetensors"] }));
    await expect(openCheckpoint(unlisted)).rejects.toThrow(/uses other.safetensors without listing it/);
    const counted = damaged("manifest.json", (bytes) => {
      const { tables } = JSON.parse(bytes.toString());
      return rewritten(bytes, { tables: [{ ...tables[0], rows: 6, files: [{ ...tables[0].files[0], rows: 6 }] }] });
    });
    await expect(openCheckpoint(counted)).rejects.toThrow(/tensor "keys" is U64 \[5\], the manifest says U64 \[6\]/);
  });
});

/** The manifest with other values and a checksum that fits. */
function rewritten(bytes: Buffer, change: object): Buffer {
  const { checksum: _, ...body } = JSON.parse(bytes.toString());
  return Buffer.from(encodeManifest({ ...body, ...change }));
}

describe("safetensors headers", () => {
  const path = (): string => join(folder, "x.safetensors");
  const entry = (start: number, end: number, shape: number[] = [(end - start) / 4]): object => ({
    dtype: "F32",
    shape,
    data_offsets: [start, end],
  });

  function write(header: unknown, dataBytes: number, length?: bigint): void {
    const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(length ?? BigInt(json.length));
    writeFileSync(path(), Buffer.concat([prefix, json, Buffer.alloc(dataBytes)]));
  }

  test.each<[string, unknown, number, RegExp, bigint?]>([
    ["overlap", { a: entry(0, 8), b: entry(4, 12) }, 12, /"b" overlaps/],
    ["a hole", { a: entry(0, 4), b: entry(8, 12) }, 12, /"b" leaves a hole/],
    ["a start after 0", { a: entry(4, 8) }, 8, /"a" leaves a hole/],
    ["missing data", { a: entry(0, 8) }, 4, /is truncated: the header describes/],
    ["data after the end", { a: entry(0, 8) }, 9, /has bytes after its last tensor/],
    ["a size that is not the shape's", { a: entry(0, 8, [3]) }, 8, /is F32 \[3\] but has 8 bytes/],
    ["a shape that overflows", { a: entry(0, 0, [2 ** 40, 2 ** 40]) }, 0, /impossible shape/],
    ["a negative size", { a: entry(0, 4, [-1]) }, 4, /has the shape \[-1\]/],
    ["offsets in reverse", { a: entry(4, 0, [1]) }, 4, /has the offsets \[4,0\]/],
    ["an unknown dtype", { a: { dtype: "F31", shape: [1], data_offsets: [0, 4] } }, 4, /unknown dtype "F31"/],
    ["a dtype from the prototype", { a: { dtype: "toString", shape: [1], data_offsets: [0, 4] } }, 4, /unknown dtype/],
    ["a missing field", { a: { dtype: "F32", shape: [1] } }, 4, /must have dtype, shape and data_offsets/],
    ["metadata that is not text", { __metadata__: { a: 1 } }, 0, /must map strings to strings/],
    ["an array", [], 0, /no JSON object/],
    ["no JSON", "{a}", 0, /is not JSON/],
    ["a length beyond the file", {}, 0, /the header needs 1000 bytes/, 1000n],
    ["a length of 2^63", {}, 0, /no safetensors file/, 2n ** 63n],
    ["a length of 0", {}, 0, /no safetensors file/, 0n],
  ])("%s is refused", async (_, header, dataBytes, message, length) => {
    write(header, dataBytes, length);
    await expect(SafetensorsFile.open(path())).rejects.toThrow(message);
    await expect(SafetensorsFile.open(path())).rejects.toThrow(path());
  });

  test("random bytes and damaged files never do more than be refused", async () => {
    const property = fc.asyncProperty(
      fc.uint8Array({ maxLength: 64 }),
      place,
      fc.integer({ min: 1, max: 255 }),
      async (noise, at, mask) => {
        writeFileSync(path(), noise);
        await expect(SafetensorsFile.open(path())).rejects.toThrow(CheckpointError);
        await writeSafetensors(path(), [{ name: "w", dtype: "F32", shape: [2], data: Float32Array.of(1, 2) }]);
        writeFileSync(path(), flip(at, mask)(readFileSync(path())));
        try {
          await (await SafetensorsFile.open(path())).close();
        } catch (error) {
          expect(error).toBeInstanceOf(CheckpointError);
        }
        truncateSync(path(), Math.floor(at * readFileSync(path()).length));
        await expect(SafetensorsFile.open(path())).rejects.toThrow(CheckpointError);
      },
    );
    await fc.assert(property, { numRuns: 100 });
  });
});
