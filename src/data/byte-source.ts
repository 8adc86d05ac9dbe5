// Where the bytes of a text file come from, plain or gzip: pieces copied into the heap.
import { closeSync, createReadStream, openSync, readSync } from "node:fs";
import { createGunzip, type Gunzip } from "node:zlib";
import type { Heap } from "../memory/index.ts";
import { DataError } from "./errors.ts";

/** Small enough for the second-level cache, where the parser then finds what was just read. */
export const BLOCK_BYTES: number = 256 * 1024;

/** Each call puts up to BLOCK_BYTES at `address`; 0 at the end. */
export interface ByteSource {
  /** Bytes of the file consumed so far (compressed ones where it is compressed). */
  readonly fileBytes: number;
  read(address: number): number | Promise<number>;
  close(): void;
}

/** The bytes of a file from `position` (of the uncompressed text) on. */
export function openBytes(heap: Heap, path: string, gzip: boolean, position: number): ByteSource {
  return (gzip ? gzipSource : plainSource)(heap, path, position);
}

/** Reads at once: the system reads ahead, and a thread of a pool would only take a core from a trainer. */
function plainSource(heap: Heap, path: string, position: number): ByteSource {
  const fd = openSync(path, "r");
  const from = position;
  return {
    get fileBytes() {
      return position - from;
    },
    read(address) {
      const bytesRead = readSync(fd, heap.u8(address, BLOCK_BYTES), 0, BLOCK_BYTES, position);
      position += bytesRead;
      return bytesRead;
    },
    close: () => closeSync(fd),
  };
}

function gzipSource(heap: Heap, path: string, position: number): ByteSource {
  const file = createReadStream(path, { highWaterMark: BLOCK_BYTES });
  const gunzip: Gunzip = createGunzip({ chunkSize: BLOCK_BYTES });
  file.on("error", (error) => gunzip.destroy(error));
  const chunks = file.pipe(gunzip)[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let toSkip = position;
  return {
    get fileBytes() {
      return gunzip.bytesWritten;
    },
    async read(address) {
      for (;;) {
        const { value, done } = await nextChunk(chunks, path);
        if (done) return 0;
        if (value.length <= toSkip) {
          toSkip -= value.length;
          continue;
        }
        const chunk = value.subarray(toSkip);
        toSkip = 0;
        heap.u8(address, chunk.length).set(chunk);
        return chunk.length;
      }
    },
    close() {
      file.destroy();
      gunzip.destroy();
    },
  };
}

async function nextChunk(chunks: AsyncIterator<Buffer>, path: string): Promise<IteratorResult<Buffer>> {
  try {
    return await chunks.next();
  } catch (cause) {
    throw new DataError(`is a damaged or cut off gzip file (${(cause as Error).message})`, path);
  }
}
