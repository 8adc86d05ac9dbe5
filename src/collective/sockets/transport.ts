// The transport over sockets, by system calls on the heap: between processes of a machine (unix) and over networks that are
// closed to others (tcp). Bytes go from and to tensors without a copy in between; what is reduced comes to a staging place
// that stays in the cache.
import type { Heap } from "../../memory/index.ts";
import { StallError } from "../errors.ts";
import { SendQueue } from "../send-queue.ts";
import { DEFAULT_STALL_MS, type Transport } from "../transport.ts";
import { Errno, libc, Poll } from "./libc.ts";
import { heapBase, type Mesh, setVector } from "./mesh.ts";

export interface SocketOptions {
  readonly name: "unix" | "tcp";
  /** The transport closes it. */
  readonly mesh: Mesh;
  readonly heap: Heap;
  readonly stallMs?: number;
}

/** Between machines a wait costs more than a cache that a long piece overflows. */
const PIECE_BYTES = { unix: 2 ** 18, tcp: 2 ** 19 } as const;
/** Short messages are read together with what follows them, up to this much. */
const READ_AHEAD = 4096;
/** Sends that go out in one call. */
const VECTORS = 16;
const VECTOR_BYTES = 16;
/** A call that sends more than this keeps the thread from reducing what has come. */
const MOST_AT_ONCE = 2 ** 20;
/** Who waits for more than this is woken when all of it has come, not by each packet. */
const LOW_WATER_FROM = 2 ** 15;
const SOCKET = { level: 1, receiveLowWater: 18 } as const;

export class SocketTransport implements Transport {
  readonly name: string;
  readonly rank: number;
  readonly size: number;
  readonly pieceBytes: number;
  readonly #mesh: Mesh;
  readonly #heap: Heap;
  readonly #base: number;
  readonly #stallMs: number;
  readonly #queues: readonly SendQueue[];
  readonly #memory: number;
  readonly #stagingBytes: number;
  readonly #vectors: Uint32Array;
  /** By peer: the staged bytes that nobody took yet, from and to. */
  readonly #from: Int32Array;
  readonly #to: Int32Array;
  readonly #borrowed: Int32Array;
  /** Descriptors to wait for: data of each rank, then their controls. */
  readonly #polled: Int32Array;
  /** Whether a peer's socket took less than it was offered. */
  readonly #full: Uint8Array;
  /** By peer: with so many bytes its socket counts as ready. */
  readonly #lowWater: Int32Array;

  constructor({ name, mesh, heap, stallMs = DEFAULT_STALL_MS }: SocketOptions) {
    const { rank, size } = mesh;
    this.name = name;
    this.pieceBytes = PIECE_BYTES[name];
    this.#stagingBytes = this.pieceBytes + 2 * READ_AHEAD;
    this.rank = rank;
    this.size = size;
    this.#mesh = mesh;
    this.#heap = heap;
    this.#base = heapBase(heap);
    this.#stallMs = stallMs;
    this.#queues = Array.from({ length: size }, () => new SendQueue());
    this.#memory = heap.alloc(VECTORS * VECTOR_BYTES + size * this.#stagingBytes);
    this.#vectors = heap.u32(this.#memory, VECTORS * (VECTOR_BYTES / 4));
    [this.#from, this.#to, this.#borrowed] = [new Int32Array(size), new Int32Array(size), new Int32Array(size)];
    this.#full = new Uint8Array(size);
    this.#lowWater = new Int32Array(size).fill(1);
    this.#polled = new Int32Array(4 * size);
    for (let peer = 0; peer < size; peer++) {
      this.#polled[2 * peer] = mesh.data[peer]!;
      this.#polled[2 * (size + peer)] = mesh.control[peer]!;
    }
  }

  /** Short messages wait for what follows them, a wait or a flush, and go in one call. */
  send(peer: number, address: number, bytes: number): void {
    if (bytes === 0) return;
    const queue = this.#queues[peer]!;
    queue.push(address, bytes);
    if (bytes >= READ_AHEAD || queue.length >= VECTORS) this.#push(peer);
  }

  receive(peer: number, address: number, bytes: number): void {
    const staged = Math.min(bytes, this.#to[peer]! - this.#from[peer]!);
    if (staged > 0) {
      this.#heap.u8(address, staged).set(this.#heap.u8(this.#staging(peer) + this.#from[peer]!, staged));
      this.#from[peer] = this.#from[peer]! + staged;
    }
    for (let done = staged; done < bytes; ) done += this.#read(peer, address + done, bytes - done, bytes - done);
  }

  borrow(peer: number, bytes: number): number {
    const staging = this.#staging(peer);
    const staged = this.#to[peer]! - this.#from[peer]!;
    if (staged < bytes && this.#from[peer]! > 0) {
      this.#heap.u8(staging, this.#stagingBytes).copyWithin(0, this.#from[peer]!, this.#to[peer]!);
      this.#from[peer] = 0;
      this.#to[peer] = staged;
    }
    const most = bytes < READ_AHEAD ? bytes + READ_AHEAD : bytes;
    for (let here = this.#to[peer]!; here < bytes; here = this.#to[peer]!) {
      this.#to[peer] = here + this.#read(peer, staging + here, most - here, bytes - here);
    }
    this.#borrowed[peer] = bytes;
    return staging + this.#from[peer]!;
  }

  release(peer: number): void {
    this.#from[peer] = this.#from[peer]! + this.#borrowed[peer]!;
    if (this.#from[peer] === this.#to[peer]) this.#from[peer] = this.#to[peer] = 0;
  }

  flush(): void {
    let deadline = performance.now() + this.#stallMs;
    for (;;) {
      const moved = this.#progress();
      const waits = this.#queues.findIndex(({ length }) => length > 0);
      if (waits < 0) return;
      if (moved) deadline = performance.now() + this.#stallMs;
      else this.#wait(waits, Poll.out, deadline);
    }
  }

  fail(error: Error): void {
    this.#mesh.fail(error);
  }

  close(): void {
    this.#mesh.close();
    this.detach();
  }

  /** Ends the transport but leaves the connections. */
  detach(): void {
    this.#heap.free(this.#memory);
  }

  #staging(peer: number): number {
    return this.#memory + VECTORS * VECTOR_BYTES + peer * this.#stagingBytes;
  }

  /** Reads at least one byte and at most `most`, of which `needed` will surely come. Sends go on while it waits. */
  #read(peer: number, address: number, most: number, needed: number): number {
    const c = libc();
    let deadline = 0;
    for (;;) {
      const moved = this.#progress();
      const got = c.recv(this.#mesh.data[peer]!, this.#base + address, most);
      if (got > 0) return got;
      const errno = got < 0 ? c.errno() : Errno.connectionReset;
      if (errno !== Errno.again && errno !== Errno.intr) this.#mesh.lost(peer);
      if (deadline === 0 || moved) deadline = performance.now() + this.#stallMs;
      this.#setLowWater(peer, needed >= LOW_WATER_FROM ? needed : 1);
      this.#wait(peer, Poll.in, deadline);
    }
  }

  /** The system heeds it for tcp alone, and less where its buffers are short. */
  #setLowWater(peer: number, bytes: number): void {
    if (this.#lowWater[peer] === bytes) return;
    this.#lowWater[peer] = bytes;
    libc().setOption(this.#mesh.data[peer]!, SOCKET.level, SOCKET.receiveLowWater, bytes);
  }

  /** Until the peer's socket is ready, a blocked send can go on, or a rank says something. */
  #wait(peer: number, events: number, deadline: number): void {
    const left = deadline - performance.now();
    if (left <= 0) throw new StallError(peer, `nothing came from rank ${peer} for ${this.#stallMs / 1000} s`);
    const { size } = this;
    for (let other = 0; other < size; other++) {
      const wanted = (this.#queues[other]!.length > 0 ? Poll.out : 0) | (other === peer ? events : 0);
      this.#polled[2 * other] = wanted === 0 ? -1 : this.#mesh.data[other]!;
      this.#polled[2 * other + 1] = wanted;
      this.#polled[2 * (size + other) + 1] = Poll.in;
    }
    if (libc().poll(this.#polled, 2 * size, Math.ceil(left)) <= 0) return;
    for (let other = 0; other < size; other++) {
      if (this.#polled[2 * other + 1]! >> 16 !== 0) this.#full[other] = 0;
      if (this.#polled[2 * (size + other) + 1]! >> 16 === 0) continue;
      this.#mesh.check();
      // Said once and for all: its socket would wake every poll from now on.
      this.#polled[2 * (size + other)] = -1;
    }
  }

  #progress(): boolean {
    let moved = false;
    for (let peer = 0; peer < this.size; peer++) {
      if (this.#queues[peer]!.length > 0 && this.#full[peer] === 0 && this.#push(peer)) moved = true;
    }
    return moved;
  }

  /** Offers the oldest sends to the socket. Returns whether it took any. */
  #push(peer: number): boolean {
    const queue = this.#queues[peer]!;
    const c = libc();
    let count = 0;
    let offered = 0;
    for (; count < Math.min(queue.length, VECTORS) && offered < MOST_AT_ONCE; count++) {
      const bytes = Math.min(queue.bytes(count), MOST_AT_ONCE);
      setVector(this.#vectors.subarray(4 * count), this.#base + queue.address(count), bytes);
      offered += bytes;
    }
    const sent = c.writev(this.#mesh.data[peer]!, this.#base + this.#memory, count);
    if (sent < 0) {
      const errno = c.errno();
      if (errno !== Errno.again && errno !== Errno.intr) this.#mesh.lost(peer);
      this.#full[peer] = 1;
      return false;
    }
    this.#full[peer] = sent < offered ? 1 : 0;
    queue.advance(sent);
    return true;
  }
}
