// Connections between all ranks: two sockets for each pair, one for data and one by which a rank says that it leaves or
// fails. A rank connects to those below it and accepts those above. Everything blocks, in a thread made for it.
import type { Heap } from "../../memory/index.ts";
import { causeOf, PeerError } from "../errors.ts";
import { State } from "../window.ts";
import { rankAddress, systemAddress } from "./address.ts";
import { AF, Errno, libc, Poll } from "./libc.ts";

export interface MeshOptions {
  readonly rank: number;
  readonly size: number;
  /** Of all ranks. */
  readonly addresses: readonly string[];
  /** A descriptor that listens on this rank's address (`listenOn`). The mesh closes it. */
  readonly listener: number;
  readonly heap: Heap;
  /** Ranks of another group are turned away; default "". */
  readonly group?: string;
  readonly connectMs?: number;
  /** Whether plain tcp may leave this machine. */
  readonly trusted?: boolean;
}

/** Waiting for all ranks to come. */
const CONNECT_MS = 60_000;
const RETRY_MS = 20;
/** Who connects must say who it is within this time. */
const HELLO_MS = 5000;
const HELLO_WORDS = 6;
const MAGIC = 0x666c6d31;
const NOTICE_BYTES = 1024;

const TCP = { level: 6, noDelay: 1, keepIdle: 4, keepInterval: 5, keepCount: 6, userTimeout: 18 } as const;
const SOCKET = { level: 1, error: 4, sendBuffer: 7, receiveBuffer: 8, keepAlive: 9 } as const;
/** A machine that vanished is noticed after this many seconds. */
const SILENCE_SECONDS = 5;
const BUFFER_BYTES = 2 ** 20;

const kinds = ["data", "control"] as const;
type Kind = (typeof kinds)[number];

/** What a rank said last. */
interface Notice {
  readonly state: number;
  readonly culprit: number;
  readonly text: string;
}

export class Mesh {
  readonly rank: number;
  readonly size: number;
  /** Descriptors by rank, -1 for this one. */
  readonly data: Int32Array;
  readonly #control: Int32Array;
  readonly #polled: Int32Array;
  readonly #heap: Heap;
  readonly #buffer: number;
  readonly #base: number;
  readonly #notices: (Notice | undefined)[];
  #closed = false;

  /** @throws when not all ranks come in time; it names the missing ones */
  constructor({
    rank,
    size,
    addresses,
    listener,
    heap,
    group = "",
    connectMs = CONNECT_MS,
    trusted = false,
  }: MeshOptions) {
    this.rank = rank;
    this.size = size;
    this.data = new Int32Array(size).fill(-1);
    this.#control = new Int32Array(size).fill(-1);
    this.#polled = new Int32Array(2 * size);
    this.#notices = new Array(size).fill(undefined);
    this.#heap = heap;
    this.#buffer = heap.alloc(NOTICE_BYTES);
    this.#base = heapBase(heap);
    const deadline = performance.now() + connectMs;
    try {
      for (let peer = 0; peer < rank; peer++) {
        const { family, bytes } = systemAddress(rankAddress(addresses[peer]!, trusted));
        for (const kind of kinds) {
          this.#place(kind)[peer] = this.#connect(peer, addresses[peer]!, { family, bytes }, deadline);
          this.#write(this.#place(kind)[peer]!, helloOf(rank, size, kind, group));
        }
      }
      this.#accept(listener, group, deadline);
    } catch (error) {
      this.close();
      throw error;
    } finally {
      libc().close(listener);
    }
    const words = this.#polled;
    for (let peer = 0; peer < size; peer++) words[2 * peer] = this.#control[peer]!;
  }

  /** For polls: one descriptor for each rank that becomes readable when the rank says something. */
  get control(): Int32Array {
    return this.#control;
  }

  /**
   * Reads what ranks said, without waiting.
   * @param waitsFor a rank of which more data must come; that it left is an error
   * @throws PeerError when a rank failed or died
   */
  check(waitsFor = -1): void {
    const c = libc();
    for (let peer = 0; peer < this.size; peer++) this.#polled[2 * peer + 1] = Poll.in;
    if (c.poll(this.#polled, this.size, 0) > 0) {
      for (let peer = 0; peer < this.size; peer++) {
        if (this.#polled[2 * peer + 1]! >> 16 !== 0) this.#readNotice(peer);
      }
    }
    for (const [peer, notice] of this.#notices.entries()) {
      if (notice === undefined || (notice.state === State.closed && peer !== waitsFor)) continue;
      throw new PeerError(notice.culprit, notice.text);
    }
  }

  /** The data of a rank ended. Waits until it is known why. @throws PeerError */
  lost(peer: number): never {
    const c = libc();
    const entry = Int32Array.of(this.#control[peer]!, Poll.in);
    if (this.#notices[peer] === undefined && c.poll(entry, 1, HELLO_MS) > 0) this.#readNotice(peer);
    this.check(peer);
    throw new PeerError(peer, `rank ${peer} closed its connection`);
  }

  /** Tells all ranks that this one fails. */
  fail(error: Error): void {
    const { culprit, reason } = causeOf(this.rank, error);
    this.#tell({ state: State.failed, culprit, text: reason });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tell({ state: State.closed, culprit: this.rank, text: `rank ${this.rank} left the group` });
    for (const kind of kinds) for (const fd of this.#place(kind)) if (fd >= 0) libc().close(fd);
    this.#heap.free(this.#buffer);
  }

  #place(kind: Kind): Int32Array {
    return kind === "data" ? this.data : this.#control;
  }

  #tell({ state, culprit, text }: Notice): void {
    const bytes = Buffer.from(text).subarray(0, NOTICE_BYTES - 16);
    const message = new Uint8Array(12 + bytes.length);
    new Uint32Array(message.buffer, 0, 3).set([message.length, state, culprit]);
    message.set(bytes, 12);
    for (const fd of this.#control) if (fd >= 0) this.#write(fd, message);
  }

  /** Short messages on an empty socket: they fit, or the peer is gone. */
  #write(fd: number, message: Uint8Array): void {
    const vector = this.#buffer + NOTICE_BYTES - 16;
    this.#heap.u8(this.#buffer, NOTICE_BYTES).set(message);
    setVector(this.#heap.u32(vector, 4), this.#base + this.#buffer, message.length);
    libc().writev(fd, this.#base + vector, 1);
  }

  #readNotice(peer: number): void {
    if (this.#notices[peer] !== undefined) return;
    const got = libc().recv(this.#control[peer]!, this.#base + this.#buffer, NOTICE_BYTES);
    if (got < 0 && libc().errno() === Errno.again) return;
    this.#polled[2 * peer] = -1;
    const words = this.#heap.u32(this.#buffer, 3);
    const [length, state, culprit] = words as unknown as [number, number, number];
    if (got < 12 || got < length || culprit >= this.size) {
      const text = `rank ${peer} died: its connections ended without a word`;
      this.#notices[peer] = { state: State.failed, culprit: peer, text };
      return;
    }
    const text = Buffer.from(this.#heap.u8(this.#buffer + 12, length - 12)).toString();
    this.#notices[peer] = { state, culprit, text };
  }

  #connect(peer: number, text: string, to: { family: number; bytes: Uint8Array }, deadline: number): number {
    const c = libc();
    for (;;) {
      const fd = c.socket(to.family);
      if (fd < 0) throw new Error(`rank ${this.rank} cannot make a socket: ${c.errorName()}`);
      let ok = c.connect(fd, to.bytes) === 0;
      if (!ok && c.errno() === Errno.inProgress) {
        const left = Math.max(1, deadline - performance.now());
        const entry = Int32Array.of(fd, Poll.out);
        ok = c.poll(entry, 1, Math.min(left, HELLO_MS)) > 0 && c.getOption(fd, SOCKET.level, SOCKET.error) === 0;
      }
      if (ok) {
        tune(fd, to.family);
        return fd;
      }
      const reason = c.errorName();
      c.close(fd);
      if (performance.now() > deadline) {
        throw new PeerError(peer, `rank ${this.rank} cannot reach rank ${peer} at ${text}: ${reason}`);
      }
      c.poll(this.#polled, 0, RETRY_MS);
    }
  }

  #accept(listener: number, group: string, deadline: number): void {
    const c = libc();
    const missing = (): number[] =>
      Array.from({ length: this.size - this.rank - 1 }, (_, i) => this.rank + 1 + i).filter((peer) =>
        kinds.some((kind) => this.#place(kind)[peer]! < 0),
      );
    while (missing().length > 0) {
      const left = deadline - performance.now();
      const entry = Int32Array.of(listener, Poll.in);
      if (left <= 0 || c.poll(entry, 1, Math.ceil(left)) === 0) {
        const late = missing();
        throw new PeerError(
          late[0]!,
          `rank ${this.rank} waited in vain for ${late.map((r) => `rank ${r}`).join(", ")} to connect`,
        );
      }
      const fd = c.accept(listener);
      if (fd < 0) continue;
      const hello = this.#readHello(fd, group);
      if (hello === undefined || this.#place(hello.kind)[hello.rank]! >= 0) c.close(fd);
      else {
        tune(fd, hello.kind === "data" ? AF.inet : AF.unix);
        this.#place(hello.kind)[hello.rank] = fd;
      }
    }
  }

  /** Who connected; undefined where it is no rank above this one of this group. */
  #readHello(fd: number, group: string): { rank: number; kind: Kind } | undefined {
    const c = libc();
    const bytes = 4 * HELLO_WORDS;
    const deadline = performance.now() + HELLO_MS;
    for (let got = 0; got < bytes; ) {
      const entry = Int32Array.of(fd, Poll.in);
      if (c.poll(entry, 1, Math.max(0, Math.ceil(deadline - performance.now()))) <= 0) return undefined;
      const more = c.recv(fd, this.#base + this.#buffer + got, bytes - got);
      if (more <= 0) return undefined;
      got += more;
    }
    const [, , , rank, kind] = this.#heap.u32(this.#buffer, HELLO_WORDS) as unknown as number[];
    if (kind! > 1 || rank! <= this.rank || rank! >= this.size) return undefined;
    const expected = new Uint32Array(helloOf(rank!, this.size, kinds[kind!]!, group).buffer);
    const same = this.#heap.u32(this.#buffer, HELLO_WORDS).every((word, i) => word === expected[i]);
    return same ? { rank: rank!, kind: kinds[kind!]! } : undefined;
  }
}

function helloOf(rank: number, size: number, kind: Kind, group: string): Uint8Array {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(group)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return new Uint8Array(Uint32Array.of(MAGIC, 1, size, rank, kinds.indexOf(kind), hash).buffer);
}

/** Sockets of other families ignore what is for tcp. */
function tune(fd: number, family: number): void {
  const c = libc();
  if (family === AF.unix) {
    c.setOption(fd, SOCKET.level, SOCKET.sendBuffer, BUFFER_BYTES);
    return;
  }
  c.setOption(fd, TCP.level, TCP.noDelay, 1);
  c.setOption(fd, SOCKET.level, SOCKET.keepAlive, 1);
  c.setOption(fd, TCP.level, TCP.keepIdle, 2);
  c.setOption(fd, TCP.level, TCP.keepInterval, 1);
  c.setOption(fd, TCP.level, TCP.keepCount, SILENCE_SECONDS - 2);
  c.setOption(fd, TCP.level, TCP.userTimeout, 1000 * SILENCE_SECONDS);
}

/** Where the heap begins in the address space of the process. */
export const heapBase = (heap: Heap): number => libc().addressOf(heap.u8(0, heap.capacity));

/** Writes an `iovec`. */
export function setVector(words: Uint32Array, address: number, bytes: number): void {
  words[0] = address >>> 0;
  words[1] = Math.floor(address / 2 ** 32);
  words[2] = bytes >>> 0;
  words[3] = Math.floor(bytes / 2 ** 32);
}
