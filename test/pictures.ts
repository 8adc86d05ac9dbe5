// For long tests: labelled pictures out of an archive PART/CLASS/NAME.png or .jpg, mixed by a fixed seed.
import { readFileSync } from "node:fs";
import { gunzipSync, inflateSync } from "node:zlib";
import jpeg from "jpeg-js";

export interface Pictures {
  /** [rows, height, width, channels], bytes less 127.5 over 64: exact in float32. */
  readonly image: Float32Array;
  /** [rows]: places of the classes' names in their alphabetical order. */
  readonly label: Int32Array;
}

/** The first `rows` pictures of each part, once mixed. `shape` is [height, width, channels]. */
export function readPictures<Part extends string>(
  archive: string,
  shape: readonly [number, number, number],
  rows: Readonly<Record<Part, number>>,
): Record<Part, Pictures> {
  const files = [...tarFiles(gunzipSync(readFileSync(archive)))].map(({ name, bytes }) => {
    const [part, kind] = name.split("/");
    return { part: part!, kind: kind!, name, bytes };
  });
  const kinds = [...new Set(files.map(({ kind }) => kind))].sort();
  const entries = Object.entries<number>(rows).map(([part, count]) => {
    const chosen = mixed(files.filter((file) => file.part === part)).slice(0, count);
    if (chosen.length < count) throw new Error(`${archive}: ${chosen.length} pictures in ${part}, ${count} are wanted`);
    const size = shape[0] * shape[1] * shape[2];
    const image = new Float32Array(count * size);
    for (const [row, { name, bytes }] of chosen.entries()) {
      const pixels = name.endsWith(".png") ? decodePng(bytes) : decodeJpeg(bytes);
      if (pixels.length !== size) throw new Error(`${archive}: ${name} has ${pixels.length} bytes, not ${size}`);
      for (const [i, pixel] of pixels.entries()) image[row * size + i] = (pixel - 127.5) / 64;
    }
    return [part, { image, label: Int32Array.from(chosen, ({ kind }) => kinds.indexOf(kind)) }];
  });
  return Object.fromEntries(entries);
}

const BLOCK = 512;

/** Regular files of a tar archive. */
function* tarFiles(tar: Buffer): Generator<{ readonly name: string; readonly bytes: Buffer }> {
  for (let at = 0; at + BLOCK <= tar.length && tar[at] !== 0; ) {
    const text = (from: number, bytes: number): string => tar.toString("latin1", at + from, at + from + bytes);
    const size = Number.parseInt(text(124, 12), 8);
    const start = at + BLOCK;
    if (text(156, 1) === "0")
      yield { name: text(0, 100).replace(/\0.*$/, ""), bytes: tar.subarray(start, start + size) };
    at = start + Math.ceil(size / BLOCK) * BLOCK;
  }
}

/** Fisher and Yates, by a linear congruential generator. */
function mixed<T>(values: readonly T[]): T[] {
  const result = [...values];
  let state = 1;
  for (let i = result.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

/** Pixels [H,W,3]. */
function decodeJpeg(bytes: Buffer): Uint8Array {
  const { data } = jpeg.decode(bytes, { useTArray: true, formatAsRGBA: false });
  return data;
}

/** Pixels [H,W] of a grey picture of 8 bits, not interlaced (PNG 1.2). */
function decodePng(bytes: Buffer): Uint8Array {
  const [width, height] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  if (bytes[24] !== 8 || bytes[25] !== 0 || bytes[28] !== 0) throw new Error("a PNG that is not plain grey of 8 bits");
  const parts: Buffer[] = [];
  for (let at = 8; at < bytes.length; at += 12 + bytes.readUInt32BE(at)) {
    const data = bytes.subarray(at + 8, at + 8 + bytes.readUInt32BE(at));
    if (bytes.toString("latin1", at + 4, at + 8) === "IDAT") parts.push(data);
  }
  const lines = inflateSync(Buffer.concat(parts));
  const pixels = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = lines[y * (width + 1)]!;
    for (let x = 0; x < width; x++) {
      const left = x > 0 ? pixels[y * width + x - 1]! : 0;
      const up = y > 0 ? pixels[(y - 1) * width + x]! : 0;
      const corner = x > 0 && y > 0 ? pixels[(y - 1) * width + x - 1]! : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter]!;
      pixels[y * width + x] = lines[y * (width + 1) + 1 + x]! + guess;
    }
  }
  return pixels;
}

function paeth(left: number, up: number, corner: number): number {
  const [a, b, c] = [left, up, corner].map((value) => Math.abs(left + up - corner - value)) as [number, number, number];
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}
