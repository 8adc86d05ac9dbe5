// The safetensors format, byte by byte as its specification says, and round trips of everything it can hold.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bytesOfDType, type SafetensorsDType } from "./dtype.ts";
import { SafetensorsFile, writeSafetensors } from "./safetensors.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "flotilla-safetensors-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

test("a file has the bytes that the specification gives", async () => {
  const path = join(folder, "a.safetensors");
  await writeSafetensors(path, [
    { name: "bias", dtype: "U8", shape: [3], data: Uint8Array.of(7, 8, 9) },
    { name: "weight", dtype: "F32", shape: [1, 2], data: Float32Array.of(1, -2) },
  ]);
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const json =
    '{"__metadata__":{"format":"pt"},' +
    '"weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},' +
    '"bias":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}';
  expect(length % 8).toBe(0);
  expect(bytes.subarray(8, 8 + length).toString()).toBe(json.padEnd(length));
  expect([...bytes.subarray(8 + length)]).toEqual([0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 7, 8, 9]);
});

test("a file of the reference implementation is read", async () => {
  // safetensors.numpy.save({"b": arange(3, dtype=int64), "a": array([[1.5]], dtype=float32)}, metadata={"k": "v"})
  const json = `{"__metadata__":{"k":"v"},"b":{"dtype":"I64","shape":[3],"data_offsets":[0,24]},"a":{"dtype":"F32","shape":[1,1],"data_offsets":[24,28]}}`;
  const padded = json.padEnd(Math.ceil(json.length / 8) * 8);
  const file = Buffer.alloc(8 + padded.length + 28);
  file.writeBigUInt64LE(BigInt(padded.length));
  file.write(padded, 8);
  for (let i = 0; i < 3; i++) file.writeBigInt64LE(BigInt(i), 8 + padded.length + 8 * i);
  file.writeFloatLE(1.5, 8 + padded.length + 24);
  const path = join(folder, "reference.safetensors");
  writeFileSync(path, file);
  await using opened = await SafetensorsFile.open(path);
  expect(opened.metadata).toEqual({ k: "v" });
  const b = new BigInt64Array(3);
  await opened.read("b", b);
  expect([...b]).toEqual([0n, 1n, 2n]);
  const a = new Float32Array(1);
  await opened.read("a", a);
  expect(a[0]).toBe(1.5);
});

test("any names, types, shapes and splits of the data come back", async () => {
  const dtypes = Object.keys(bytesOfDType) as SafetensorsDType[];
  const names = fc
    .oneof(fc.string(), fc.constantFrom("1", "0", "__proto__", "constructor", 'é\u{1f600}\n"'))
    .filter((name) => name !== "__metadata__");
  const tensor = fc.record({
    name: names,
    dtype: fc.constantFrom(...dtypes),
    shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }),
    piece: fc.integer({ min: 1, max: 300 }),
  });
  const property = fc.asyncProperty(
    fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 6 }),
    async (specs) => {
      const path = join(folder, "any.safetensors");
      const tensors = specs.map(({ piece, ...spec }, t) => {
        const bytes = spec.shape.reduce((product, size) => product * size, bytesOfDType[spec.dtype]);
        const all = Uint8Array.from({ length: bytes }, (_, i) => i * 7 + t);
        const pieces = Array.from({ length: Math.ceil(bytes / piece) }, (_, i) =>
          all.subarray(i * piece, (i + 1) * piece),
        );
        return { ...spec, all, data: pieces };
      });
      await writeSafetensors(path, tensors);
      await using opened = await SafetensorsFile.open(path);
      expect([...opened.tensors.keys()].sort()).toEqual(specs.map(({ name }) => name).sort());
      for (const { name, dtype, shape, all } of tensors) {
        const entry = opened.entry(name);
        expect(entry).toMatchObject({ dtype, shape });
        expect(entry.offset % bytesOfDType[dtype]).toBe(0);
        const into = new Uint8Array(entry.byteLength);
        await opened.read(name, into);
        expect(into).toEqual(all);
      }
    },
  );
  await fc.assert(property, { numRuns: 60 });
});

test("a part of a tensor is read from an element on", async () => {
  const path = join(folder, "part.safetensors");
  await writeSafetensors(path, [{ name: "w", dtype: "F32", shape: [3, 2], data: Float32Array.of(0, 1, 2, 3, 4, 5) }]);
  await using opened = await SafetensorsFile.open(path);
  const row = new Float32Array(2);
  await opened.read("w", row, 2);
  expect([...row]).toEqual([2, 3]);
  await expect(opened.read("w", row, 5)).rejects.toThrow(
    /cannot be read into a Float32Array of 8 bytes from element 5 on/,
  );
  await expect(opened.read("v", row)).rejects.toThrow(/has no tensor "v"; it has w/);
});

test("a failed write leaves the file that was there", async () => {
  const path = join(folder, "kept.safetensors");
  await writeSafetensors(path, [{ name: "w", dtype: "F32", shape: [1], data: Float32Array.of(1) }]);
  const before = readFileSync(path);
  const short = { name: "w", dtype: "F32" as const, shape: [2], data: Float32Array.of(1) };
  await expect(writeSafetensors(path, [short])).rejects.toThrow(/tensor "w" gave 4 bytes less/);
  expect(readFileSync(path)).toEqual(before);
});
