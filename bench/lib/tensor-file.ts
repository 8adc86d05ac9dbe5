// Training data handed to the Python peers: one file in the layout of safetensors, so that both systems see the same
// rows in the same order.

import { writeSync } from "node:fs";
import { replaceFile } from "./paths.ts";

/** Rows of a click model: categorical ids (0 = no feature where the file says so), numbers and labels. */
export interface ClickRows {
  readonly rows: number;
  readonly fields: number;
  readonly numbers: number;
  /** [rows, fields] */
  readonly ids: Int32Array;
  /** [rows, numbers] */
  readonly dense: Float32Array;
  /** [rows], 0 or 1 */
  readonly label: Float32Array;
}

/** Writes `ids`, `dense` and `label`; `meta` goes into the header's `__metadata__`. */
export function writeClickRows(path: string, data: ClickRows, meta: Readonly<Record<string, string>> = {}): void {
  const tensors: [string, string, number[], Int32Array | Float32Array][] = [
    ["ids", "I32", [data.rows, data.fields], data.ids],
    ["dense", "F32", [data.rows, data.numbers], data.dense],
    ["label", "F32", [data.rows], data.label],
  ];
  const header: Record<string, unknown> = { __metadata__: meta };
  let offset = 0;
  for (const [name, dtype, shape, view] of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + view.byteLength] };
    offset += view.byteLength;
  }
  const json = JSON.stringify(header);
  const headerBytes = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerBytes.length));
  replaceFile(path, (file) => {
    for (const part of [length, headerBytes, ...tensors.map(([, , , view]) => view)]) writeFully(file, part);
  });
}

/** A write call takes at most 2 GiB. */
function writeFully(file: number, view: ArrayBufferView): void {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(file, bytes, done);
  }
}
