// The header of the safetensors format: 8 bytes little-endian length, then JSON that gives every tensor's dtype, shape and
// place. https://github.com/huggingface/safetensors#format. Reading trusts nothing: sizes, overlaps and holes are checked.
import { bytesOfDType, isDType, type SafetensorsDType } from "./dtype.ts";
import { CheckpointError } from "./error.ts";

/** The reference implementation's limit. */
const MAX_HEADER_BYTES = 100_000_000;
const METADATA = "__metadata__";
const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a];
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];
const ENTRY_KEYS = "data_offsets,dtype,shape";

export interface TensorEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** Bytes from the start of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface Header {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
}

export interface TensorShape {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
}

/**
 * Lays out tensors one after another, wide elements first so that each is aligned, and writes the header before them.
 * @throws CheckpointError for a name given twice or a wrong shape; `file` is for its message.
 */
export function encodeHeader(
  file: string,
  tensors: readonly TensorShape[],
  metadata: Readonly<Record<string, string>> = {},
): { bytes: Uint8Array; tensors: Map<string, TensorEntry>; fileBytes: number } {
  const ordered = [...tensors].sort((a, b) => bytesOfDType[b.dtype] - bytesOfDType[a.dtype]);
  const body = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) body.set(METADATA, metadata);
  const entries = new Map<string, TensorEntry>();
  let end = 0;
  for (const { name, dtype, shape } of ordered) {
    if (name === METADATA || entries.has(name)) {
      throw new CheckpointError(file, `two tensors are named "${name}"; every tensor needs a name of its own`);
    }
    const byteLength = bytesOf(file, name, dtype, shape);
    body.set(name, { dtype, shape, data_offsets: [end, end + byteLength] });
    entries.set(name, { dtype, shape, offset: end, byteLength });
    end += byteLength;
  }
  const json = new TextEncoder().encode(jsonOf(body));
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw new CheckpointError(
      file,
      `${entries.size} tensors need a header of ${length} bytes, more than ${MAX_HEADER_BYTES}`,
    );
  }
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  for (const [name, entry] of entries) entries.set(name, { ...entry, offset: entry.offset + bytes.length });
  return { bytes, tensors: entries, fileBytes: bytes.length + end };
}

/** An object in the Map's order; a plain object would put names like "1" first and lose "__proto__". */
function jsonOf(body: ReadonlyMap<string, unknown>): string {
  return `{${[...body].map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(",")}}`;
}

/** How many bytes of header follow the first 8. @throws CheckpointError when that cannot be. */
export function headerLength(file: string, prefix: Uint8Array, fileBytes: number): number {
  if (prefix.length < 8) {
    throw new CheckpointError(file, `has ${prefix.length} bytes, too few for a safetensors file; it is truncated`);
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES) || length < 2n) {
    throw new CheckpointError(file, `its first 8 bytes give a header of ${length} bytes; this is no safetensors file`);
  }
  if (Number(length) + 8 > fileBytes) {
    throw new CheckpointError(file, `is truncated: the header needs ${length} bytes, the file has ${fileBytes}`);
  }
  return Number(length);
}

/**
 * Parses the header's JSON against the size of the file.
 * @throws CheckpointError when it is not JSON of the right form, or tensors overlap, leave holes or end elsewhere.
 */
export function parseHeader(file: string, json: Uint8Array, fileBytes: number): Header {
  const body = parseObject(file, json);
  const dataStart = 8 + json.length;
  const tensors = new Map<string, TensorEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(body)) {
    if (name === METADATA) metadata = parseMetadata(file, value);
    else tensors.set(name, parseEntry(file, name, value, dataStart));
  }
  let end = dataStart;
  for (const [name, entry] of [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.byteLength - b.byteLength)) {
    if (entry.offset !== end) {
      const fault = entry.offset < end ? "overlaps the tensor before it" : "leaves a hole before it";
      throw new CheckpointError(file, `tensor "${name}" ${fault}; the header is damaged`);
    }
    end += entry.byteLength;
  }
  if (end !== fileBytes) {
    const fault = end > fileBytes ? "is truncated" : "has bytes after its last tensor";
    throw new CheckpointError(file, `${fault}: the header describes ${end} bytes, the file has ${fileBytes}`);
  }
  return { metadata, tensors };
}

function parseObject(file: string, json: Uint8Array): Record<string, unknown> {
  let body: unknown;
  try {
    body = json[0] === 0x7b ? JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json)) : undefined;
  } catch (cause) {
    throw new CheckpointError(file, "its header is not JSON; the file is damaged or no safetensors file", { cause });
  }
  if (!isRecord(body)) throw new CheckpointError(file, "its header is no JSON object; this is no safetensors file");
  if (keyCount(json) !== Object.keys(body).length) {
    throw new CheckpointError(file, "its header gives a name twice; the header is damaged");
  }
  return body;
}

/** How many keys the outermost object of valid JSON is written with: parsing keeps only the last of equal ones. */
function keyCount(json: Uint8Array): number {
  let [count, depth] = [0, 0];
  let inString = false;
  for (let i = 0; i < json.length; i++) {
    const byte = json[i]!;
    if (byte === QUOTE) inString = !inString;
    else if (inString) i += Number(byte === BACKSLASH);
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--;
    else if (byte === COLON && depth === 1) count++;
  }
  return count;
}

function parseMetadata(file: string, value: unknown): Record<string, string> {
  if (!isRecord(value) || Object.values(value).some((text) => typeof text !== "string")) {
    throw new CheckpointError(file, "the header's __metadata__ must map strings to strings");
  }
  return value as Record<string, string>;
}

function parseEntry(file: string, name: string, value: unknown, dataStart: number): TensorEntry {
  if (!isRecord(value) || Object.keys(value).sort().join() !== ENTRY_KEYS) {
    throw new CheckpointError(file, `tensor "${name}" must have dtype, shape and data_offsets; the header is damaged`);
  }
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDType(dtype))
    throw new CheckpointError(file, `tensor "${name}" has the unknown dtype ${JSON.stringify(dtype)}`);
  if (!isSizes(shape)) {
    throw new CheckpointError(file, `tensor "${name}" has the shape ${JSON.stringify(shape)}; the header is damaged`);
  }
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[1]! < offsets[0]!) {
    throw new CheckpointError(
      file,
      `tensor "${name}" has the offsets ${JSON.stringify(offsets)}; the header is damaged`,
    );
  }
  const byteLength = offsets[1]! - offsets[0]!;
  if (byteLength !== bytesOf(file, name, dtype, shape)) {
    throw new CheckpointError(
      file,
      `tensor "${name}" is ${dtype} [${shape}] but has ${byteLength} bytes; the header is damaged`,
    );
  }
  return { dtype, shape, offset: dataStart + offsets[0]!, byteLength };
}

function bytesOf(file: string, name: string, dtype: SafetensorsDType, shape: readonly number[]): number {
  const bytes = shape.reduce((product, size) => product * size, bytesOfDType[dtype]);
  if (!isSizes(shape) || !Number.isSafeInteger(bytes)) {
    throw new CheckpointError(file, `tensor "${name}" has the impossible shape [${shape}]`);
  }
  return bytes;
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
