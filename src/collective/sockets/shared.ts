// The transport between processes of one machine through memory: a window in pages that all of them map, right in their
// heaps, so that kernels reduce from it. Sockets tell when a process has died; futexes wake.
import { randomUUID } from "node:crypto";
import { closeSync, openSync, statSync, unlinkSync } from "node:fs";
import type { Heap } from "../../memory/index.ts";
import { ChannelTransport, type Signal } from "../channels.ts";
import type { Transport } from "../transport.ts";
import { windowBytes } from "../window.ts";
import { libc } from "./libc.ts";
import { heapBase, type Mesh } from "./mesh.ts";
import { SocketTransport } from "./transport.ts";

const FOLDER = "/dev/shm";
const PAGE = 4096;
const NAME_BYTES = 64;

export interface SharedOptions {
  /** The transport closes it. */
  readonly mesh: Mesh;
  readonly heap: Heap;
  readonly stallMs?: number;
  /** Bytes of each rank's heap that the others can read, the same on all ranks; default 0. */
  readonly bufferBytes?: number;
}

/** @throws where the ranks have no common memory: they are on several machines or in separate containers */
export function sharedTransport({ mesh, heap, stallMs, bufferBytes = 0 }: SharedOptions): Transport {
  const { rank, size } = mesh;
  const own = Math.ceil(bufferBytes / PAGE) * PAGE;
  const bytes = windowBytes(size) + size * own;
  const window = heap.alloc(bytes, PAGE);
  const base = heapBase(heap);
  const c = libc();
  try {
    agreeOnFile(mesh, heap, bytes, (file) => {
      const fd = openSync(file, "r+");
      try {
        const found = statSync(file).size;
        if (found !== bytes) throw new Error(`rank 0 made ${found} bytes, not ${bytes}: bufferBytes must be alike`);
        if (!c.mapShared(base + window, bytes, fd)) throw new Error(`cannot map ${file}: ${c.errorName()}`);
      } finally {
        closeSync(fd);
      }
    });
  } catch (cause) {
    heap.free(window);
    const reason = (cause as Error).message;
    throw new Error(`rank ${rank} cannot share memory with the others: ${reason}; take the transport unix`, { cause });
  }
  const words = window + base;
  const signal: Signal = {
    wait: (index, value, ms) => c.futexWait(words + 4 * index, value, ms),
    notify: (index) => c.futexWake(words + 4 * index),
    yield: c.yield,
  };
  const buffers = Array.from({ length: size }, (_, peer) => window + windowBytes(size) + peer * own);
  const readable = { bases: buffers, bytes: own };
  return new ChannelTransport({
    name: "shared",
    rank,
    size,
    heap,
    window,
    signal,
    ...(own > 0 ? { readable, buffer: { address: buffers[rank]!, bytes: own } } : {}),
    ...(stallMs === undefined ? {} : { stallMs }),
    check: (waitsFor) => mesh.check(waitsFor),
    onClose() {
      mesh.close();
      c.mapPrivate(base + window, bytes);
      heap.free(window);
    },
  });
}

/** Rank 0 makes the file and tells its name; when all have opened it, the name goes and the memory ends with its users. */
function agreeOnFile(mesh: Mesh, heap: Heap, bytes: number, open: (file: string) => void): void {
  const { rank, size } = mesh;
  const wire = new SocketTransport({ name: "unix", mesh, heap });
  const name = heap.alloc(NAME_BYTES);
  const text = heap.u8(name, NAME_BYTES);
  const peers = Array.from({ length: size }, (_, peer) => peer).filter((peer) => peer !== rank);
  let file = "";
  try {
    if (rank === 0) {
      file = `${FOLDER}/flotilla-${randomUUID()}`;
      const fd = openSync(file, "wx", 0o600);
      const full = libc().allocate(fd, bytes) !== 0;
      closeSync(fd);
      if (full) throw new Error(`${FOLDER} has no room for ${bytes} bytes; enlarge it, in containers by --shm-size`);
      text.set(Buffer.from(file));
      for (const peer of peers) wire.send(peer, name, NAME_BYTES);
      wire.flush();
      open(file);
      for (const peer of peers) wire.receive(peer, name, NAME_BYTES);
    } else {
      wire.receive(0, name, NAME_BYTES);
      const told = Buffer.from(text).toString().replace(/\0.*$/s, "");
      if (!/^\/dev\/shm\/flotilla-[\w-]+$/.test(told)) throw new Error(`rank 0 named ${JSON.stringify(told)}`);
      open(told);
      wire.send(0, name, NAME_BYTES);
      wire.flush();
    }
  } finally {
    if (file !== "") unlinkSync(file);
    heap.free(name);
    wire.detach();
  }
}
