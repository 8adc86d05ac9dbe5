// The transport between processes of one machine through memory: a window in pages that all of them map, right in their
// heaps, so that kernels reduce from it. Sockets tell when a process has died; futexes wake.
import { randomUUID } from "node:crypto";
import { closeSync, ftruncateSync, openSync, statSync, unlinkSync } from "node:fs";
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
}

/** @throws where the ranks have no common memory: they are on several machines or in separate containers */
export function sharedTransport({ mesh, heap, stallMs }: SharedOptions): Transport {
  const { rank, size } = mesh;
  const bytes = windowBytes(size);
  const window = heap.alloc(bytes, PAGE);
  const base = heapBase(heap);
  const c = libc();
  try {
    agreeOnFile(mesh, heap, (file) => {
      const fd = openSync(file, "r+");
      try {
        if (statSync(file).size !== bytes) throw new Error(`${file} has not the size of this group's window`);
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
  };
  return new ChannelTransport({
    name: "shared",
    rank,
    size,
    heap,
    window,
    signal,
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
function agreeOnFile(mesh: Mesh, heap: Heap, open: (file: string) => void): void {
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
      ftruncateSync(fd, windowBytes(size));
      closeSync(fd);
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
