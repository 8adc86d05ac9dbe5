// The transport between threads of one process: a window in the heap that they share, and their buffers read directly.
import type { Heap } from "../memory/index.ts";
import { announce, ChannelTransport } from "./channels.ts";
import { atomicSignal } from "./signal.ts";
import type { Transport } from "./transport.ts";
import { Control, controlAt, State, windowBytes } from "./window.ts";

/** Where the ranks of a thread group meet; plain data, for every thread. */
export interface ThreadGroup {
  readonly size: number;
  readonly window: number;
}

/** Memory for a group of threads. Free it with `freeThreadGroup` after all have closed. */
export function createThreadGroup(heap: Heap, size: number): ThreadGroup {
  return { size, window: heap.alloc(windowBytes(size), 4096) };
}

export function freeThreadGroup(heap: Heap, { window }: ThreadGroup): void {
  heap.free(window);
}

/** Says for a thread that can no longer speak that it has ended: its peers stop waiting. Any thread may call. */
export function threadDied(heap: Heap, group: ThreadGroup, rank: number): void {
  const bytes = windowBytes(group.size);
  const words = heap.i32(group.window, bytes / 4);
  if (Atomics.load(words, controlAt(rank) / 4 + Control.state) !== State.running) return;
  const reason = `rank ${rank} died: its thread ended without closing its group`;
  announce(words, heap.u8(group.window, bytes), { rank, state: State.failed, reason, culprit: rank });
  for (let peer = 0; peer < group.size; peer++) {
    Atomics.add(words, controlAt(peer) / 4 + Control.doorbell, 1);
    Atomics.notify(words, controlAt(peer) / 4 + Control.doorbell);
  }
}

export interface ThreadOptions {
  readonly heap: Heap;
  readonly group: ThreadGroup;
  readonly rank: number;
  readonly stallMs?: number;
}

export function threadTransport({ heap, group, rank, ...options }: ThreadOptions): Transport {
  const words = heap.i32(group.window, windowBytes(group.size) / 4);
  const signal = atomicSignal(words);
  const readable = { bases: new Array<number>(group.size).fill(0), bytes: heap.capacity };
  return new ChannelTransport({ name: "threads", rank, heap, signal, readable, ...group, ...options });
}
