// Reading and writing files in pieces: regions filled at their own pace, hashes, syncing to the disk.
import { createHash } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { asCheckpointError, CheckpointError } from "./error.ts";

const PIECE_BYTES = 1 << 20;

export type OnBytes = (bytes: number) => void;

/** A view's bytes. */
export function bytesOfView(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/**
 * Fills one region of a file front to back. Data is copied before it is written: it may lie in shared memory that other
 * threads go on changing.
 */
export class RegionWriter {
  readonly #file: FileHandle;
  readonly #label: string;
  readonly #path: string;
  readonly #end: number;
  readonly #onBytes: OnBytes;
  readonly #piece: Uint8Array;
  #at: number;
  #filled = 0;

  constructor(
    file: FileHandle,
    region: { path: string; label: string; offset: number; byteLength: number; onBytes: OnBytes },
  ) {
    this.#file = file;
    this.#path = region.path;
    this.#label = region.label;
    this.#at = region.offset;
    this.#end = region.offset + region.byteLength;
    this.#onBytes = region.onBytes;
    this.#piece = new Uint8Array(Math.min(PIECE_BYTES, region.byteLength));
  }

  /** @throws CheckpointError when the data is longer than the region. */
  async write(view: ArrayBufferView): Promise<void> {
    const bytes = bytesOfView(view);
    if (this.#at + this.#filled + bytes.length > this.#end) {
      throw new CheckpointError(this.#path, `${this.#label} gave more data than its shape allows`);
    }
    for (let from = 0; from < bytes.length; ) {
      const taken = Math.min(bytes.length - from, this.#piece.length - this.#filled);
      this.#piece.set(bytes.subarray(from, from + taken), this.#filled);
      this.#filled += taken;
      from += taken;
      if (this.#filled === this.#piece.length) await this.#flush();
    }
  }

  /** @throws CheckpointError when data is missing. */
  async finish(): Promise<void> {
    await this.#flush();
    if (this.#at !== this.#end) {
      throw new CheckpointError(
        this.#path,
        `${this.#label} gave ${this.#end - this.#at} bytes less than its shape needs`,
      );
    }
  }

  async #flush(): Promise<void> {
    if (this.#filled === 0) return;
    await writeAll(this.#file, this.#piece.subarray(0, this.#filled), this.#at);
    this.#onBytes(this.#filled);
    this.#at += this.#filled;
    this.#filled = 0;
  }
}

/** Writes all of `bytes` at `position`; one system call may write less. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let from = 0; from < bytes.length; ) {
    from += (await file.write(bytes, from, bytes.length - from, position + from)).bytesWritten;
  }
}

/** Fills `into` from `position` on. @throws CheckpointError when the file ends before. */
export async function readAll(file: FileHandle, path: string, into: Uint8Array, position: number): Promise<void> {
  for (let from = 0; from < into.length; ) {
    const length = Math.min(into.length - from, 1 << 26);
    const { bytesRead } = await file.read(into, from, length, position + from);
    if (bytesRead === 0) throw new CheckpointError(path, `is truncated: it ends before byte ${position + into.length}`);
    from += bytesRead;
  }
}

/** The SHA-256 of a file in hex, read in pieces. */
export async function hashFile(path: string, onBytes: OnBytes = () => {}): Promise<string> {
  const file = await open(path, "r");
  try {
    const hash = createHash("sha256");
    const piece = new Uint8Array(Math.min(PIECE_BYTES, 1 + (await file.stat()).size));
    for (let position = 0; ; ) {
      const { bytesRead } = await file.read(piece, 0, piece.length, position);
      if (bytesRead === 0) return hash.digest("hex");
      hash.update(piece.subarray(0, bytesRead));
      onBytes(bytesRead);
      position += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/** Writes a new file from memory and waits until the disk has it. */
export async function writeSynced(path: string, text: string | Uint8Array): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Makes or replaces the file at `path`: `write` writes and syncs a temporary one, which then takes its place. Whatever fails,
 * a file that was there stays.
 * @throws CheckpointError
 */
export async function replaceFile(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    await rm(temporary, { force: true });
    await write(temporary);
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (cause) {
    await rm(temporary, { force: true });
    throw asCheckpointError(path, "cannot be written", cause);
  }
}

/** Writes bytes to a file as `replaceFile` does. */
export const writeWhole = (path: string, bytes: Uint8Array): Promise<void> =>
  replaceFile(path, (temporary) => writeSynced(temporary, bytes));

/** Waits until the disk has the entries of a folder; Windows has no such call. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
