// The journal of a partition: what was applied, in order, in a file that only grows. A record has a length and a checksum,
// so that one which a crash cut in the middle is told from a whole one; a crash can cut only the last.
import { type FileHandle, open, truncate } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { aligned } from "./body.ts";
import type { AppliedCall, AppliedRecord } from "./partition.ts";
import { methods, type PsMethod } from "./requests.ts";

/** Of a record: length and checksum of what follows, the method, how many calls. Of a call: client, sequence, length. */
const RECORD_BYTES = 16;
const CALL_BYTES = 24;
/** The most buffers of one write. */
const MAX_VECTOR = 512;
const PADDING = new Uint8Array(8);
/** Numbers of methods in the file; new ones go to the end. */
const names = Object.keys(methods) as PsMethod[];

/** Settled when a batch of records is on disk. */
interface Batch {
  readonly parts: Uint8Array[];
  readonly done: PromiseWithResolvers<void>;
}

const newBatch = (): Batch => {
  const done = Promise.withResolvers<void>();
  // Whoever waits sees the failure; where nobody does, `failed` tells.
  done.promise.catch(() => {});
  return { parts: [], done };
};

/** Appends records; those that come while others are written go to disk together (group commit). */
export class Journal {
  /** Bytes appended so far. */
  bytes = 0;
  readonly #file: FileHandle;
  readonly #fsync: boolean;
  #next = newBatch();
  #writing: Promise<void> | undefined;
  #failure: Error | undefined;

  private constructor(file: FileHandle, fsync: boolean) {
    this.#file = file;
    this.#fsync = fsync;
  }

  /** A new file. */
  static async create(path: string, { fsync }: { readonly fsync: boolean }): Promise<Journal> {
    const journal = new Journal(await open(path, "wx"), fsync);
    if (fsync) {
      const folder = await open(dirname(path), "r");
      await folder.sync().finally(() => folder.close());
    }
    return journal;
  }

  /** The bodies must stay as they are until they are written. */
  append(record: AppliedRecord): void {
    const { parts } = this.#next;
    const first = parts.length;
    parts.push(new Uint8Array(RECORD_BYTES));
    let crc = 0;
    let length = 0;
    const add = (part: Uint8Array): void => {
      if (part.byteLength === 0) return;
      parts.push(part);
      crc = crc32(part, crc);
      length += part.byteLength;
    };
    for (const { client, sequence, body } of record.calls) {
      const head = new Uint8Array(CALL_BYTES);
      const view = new DataView(head.buffer);
      view.setBigUint64(0, client, true);
      view.setBigUint64(8, BigInt(sequence), true);
      view.setBigUint64(16, BigInt(body.byteLength), true);
      add(head);
      add(body);
      add(PADDING.subarray(0, aligned(body.byteLength) - body.byteLength));
    }
    const head = new DataView(parts[first]!.buffer);
    head.setUint32(0, length, true);
    head.setUint32(8, names.indexOf(record.method), true);
    head.setUint32(12, record.calls.length, true);
    head.setUint32(4, crc32(parts[first]!.subarray(8), crc), true);
    this.bytes += RECORD_BYTES + length;
    this.#writing ??= this.#write();
  }

  /** Resolves when everything appended is on disk. @throws Error of the disk */
  committed(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return this.#next.parts.length > 0 ? this.#next.done.promise : (this.#writing ?? Promise.resolve());
  }

  async close(): Promise<void> {
    await this.committed().catch(() => {});
    await this.#file.close();
  }

  async #write(): Promise<void> {
    // All that one turn of the event loop brings goes together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#next.parts.length > 0) {
      const batch = this.#next;
      this.#next = newBatch();
      try {
        if (this.#failure !== undefined) throw this.#failure;
        for (let i = 0; i < batch.parts.length; i += MAX_VECTOR)
          await this.#writeAll(batch.parts.slice(i, i + MAX_VECTOR));
        if (this.#fsync) await this.#file.datasync();
        batch.done.resolve();
      } catch (cause) {
        this.#failure ??= new Error(`the journal cannot be written: ${(cause as Error).message}`, { cause });
        batch.done.reject(this.#failure);
      }
    }
    this.#writing = undefined;
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #writeAll(parts: Uint8Array[]): Promise<void> {
    let left = parts;
    while (left.length > 0) {
      let { bytesWritten } = await this.#file.writev(left);
      while (left.length > 0 && bytesWritten >= left[0]!.byteLength) bytesWritten -= left.shift()!.byteLength;
      if (bytesWritten > 0) left = [left[0]!.subarray(bytesWritten), ...left.slice(1)];
    }
  }
}

/**
 * The records of a file. What a crash cut is taken off the file, if it is the `last` of its partition.
 * @returns the number of bytes that were taken off
 * @throws Error when a file that is not the last is damaged
 */
export async function* readJournal(path: string, last: boolean): AsyncGenerator<AppliedRecord, number> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    for (let at = 0; at < size; ) {
      const record = await readRecord(file, at, size);
      if (record === undefined) {
        if (!last) throw new Error(`${path} is damaged at byte ${at}; restore it from a copy, or start the job anew`);
        await truncate(path, at);
        return size - at;
      }
      at += RECORD_BYTES + record.length;
      yield record;
    }
    return 0;
  } finally {
    await file.close();
  }
}

async function readRecord(
  file: FileHandle,
  at: number,
  size: number,
): Promise<(AppliedRecord & { readonly length: number }) | undefined> {
  const head = await read(file, at, RECORD_BYTES, size);
  if (head === undefined) return undefined;
  const view = new DataView(head.buffer);
  const [length, crc, method, count] = [0, 4, 8, 12].map((offset) => view.getUint32(offset, true)) as [
    number,
    number,
    number,
    number,
  ];
  const payload = await read(file, at + RECORD_BYTES, length, size);
  if (payload === undefined || crc32(head.subarray(8), crc32(payload)) !== crc) return undefined;
  const calls: AppliedCall[] = [];
  const body = new DataView(payload.buffer);
  for (let i = 0, start = 0; i < count; i++) {
    const bytes = Number(body.getBigUint64(start + 16, true));
    const first = start + CALL_BYTES;
    calls.push({
      client: body.getBigUint64(start, true),
      sequence: Number(body.getBigUint64(start + 8, true)),
      body: payload.subarray(first, first + bytes),
    });
    start = first + aligned(bytes);
  }
  return { method: names[method]!, calls, length };
}

/** Bytes in a buffer of their own, so that bodies start at multiples of 8; undefined where the file ends before. */
async function read(
  file: FileHandle,
  at: number,
  length: number,
  size: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (at + length > size) return undefined;
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, at + done);
    if (bytesRead === 0) return undefined;
    done += bytesRead;
  }
  return bytes;
}
