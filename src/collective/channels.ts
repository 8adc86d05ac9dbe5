// The transport over a window of shared memory: between threads of a process, between processes that map the same pages,
// and between a communication thread and the thread that owns its encrypted connections. What differs is how one wakes
// another (`Signal`).
import type { Heap } from "../memory/index.ts";
import { NOTE_BYTES } from "./agreement.ts";
import { causeOf, PeerError, StallError } from "./errors.ts";
import { type Reduction, reduction } from "./reduction.ts";
import { SendQueue } from "./send-queue.ts";
import { checkPlace, DEFAULT_STALL_MS, type SharedBuffer, type SharedMemory, type Transport } from "./transport.ts";
import { Control, controlAt, MAX_TEXT_BYTES, Pair, pairAt, SLOT_BYTES, SLOTS, State, slotAt } from "./window.ts";

/** Sleeping on words of the window and waking who sleeps. */
export interface Signal {
  /** Returns when word `index` no longer has this value, when it was notified, or after `ms`. */
  wait(index: number, value: number, ms: number): void;
  notify(index: number): void;
  /** Lets another thread have this core, if one wants it. */
  yield(): void;
}

export interface ChannelOptions {
  readonly name: string;
  readonly rank: number;
  readonly size: number;
  readonly heap: Heap;
  /** Address of the window. */
  readonly window: number;
  readonly signal: Signal;
  readonly stallMs?: number;
  /** What of each rank this one can read: from which address of its own heap on, and how much. Default: nothing. */
  readonly readable?: { readonly bases: readonly number[]; readonly bytes: number };
  readonly buffer?: SharedBuffer;
  /** Called every now and then while waiting; throws when it knows of a failure that the window does not show. */
  readonly check?: (waitsFor: number) => void;
  /** Called once, when the transport closes. */
  readonly onClose?: () => void;
}

/** Says that a rank's data cannot be read by others. */
const OUTSIDE = -1;
/** A waiting rank looks for failures this often. */
const CHECK_MS = 100;
/**
 * How long a rank looks before it sleeps. Waking takes the system 50 to 100 µs; who slept less than a message takes makes
 * the next one sleep too, and then a few bytes take as long as 256 KiB. Looking is polite: it offers its core to others.
 */
const SPIN_MS = 0.1;
/** Looks between two offers and looks at the clock. */
const SPINS = 32;

export class ChannelTransport implements Transport {
  readonly name: string;
  readonly rank: number;
  readonly size: number;
  readonly pieceBytes = SLOT_BYTES;
  readonly shared?: SharedMemory;
  readonly buffer?: SharedBuffer;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #window: number;
  readonly #signal: Signal;
  readonly #stallMs: number;
  readonly #options: ChannelOptions;
  readonly #kernels: Reduction;
  readonly #queues: readonly SendQueue[];
  /** Addresses of all ranks' buffers, where they can be read. */
  #table = 0;
  #closed = false;

  constructor(options: ChannelOptions) {
    const { name, rank, size, heap, window } = options;
    checkPlace(rank, size);
    this.name = name;
    this.rank = rank;
    this.size = size;
    const bytes = pairAt(size, size, 0);
    this.#words = heap.i32(window, bytes / 4);
    this.#bytes = heap.u8(window, bytes);
    this.#window = window;
    this.#signal = options.signal;
    this.#stallMs = options.stallMs ?? DEFAULT_STALL_MS;
    this.#options = options;
    this.#kernels = reduction(heap);
    this.#queues = Array.from({ length: size }, () => new SendQueue());
    if (options.readable !== undefined) this.shared = this.#sharedMemory(options.readable);
    if (options.buffer !== undefined) this.buffer = options.buffer;
  }

  send(peer: number, address: number, bytes: number): void {
    if (bytes === 0) return;
    this.#queues[peer]!.push(address, bytes);
    this.#push(peer);
  }

  receive(peer: number, address: number, bytes: number): void {
    for (let done = 0; done < bytes; done += SLOT_BYTES) {
      const length = Math.min(SLOT_BYTES, bytes - done);
      this.#kernels.copyBytes(address + done, this.borrow(peer, length), length);
      this.release(peer);
    }
  }

  borrow(peer: number, bytes: number): number {
    const pair = pairAt(this.size, peer, this.rank);
    const head = pair / 4 + Pair.head;
    const tail = Atomics.load(this.#words, pair / 4 + Pair.tail);
    if (Atomics.load(this.#words, head) === tail) this.#waitUntil(peer, () => Atomics.load(this.#words, head) !== tail);
    const length = this.#words[pair / 4 + Pair.lengths + (tail % SLOTS)]!;
    if (length !== bytes) {
      throw new PeerError(
        peer,
        `rank ${peer} sent a piece of ${length} bytes where rank ${this.rank} expects ${bytes}`,
      );
    }
    return this.#window + slotAt(pair, tail);
  }

  release(peer: number): void {
    const tail = pairAt(this.size, peer, this.rank) / 4 + Pair.tail;
    Atomics.store(this.#words, tail, (Atomics.load(this.#words, tail) + 1) | 0);
    this.#ring(peer);
  }

  flush(): void {
    for (let peer = 0; peer < this.size; peer++) {
      const queue = this.#queues[peer]!;
      if (queue.length > 0) this.#waitUntil(peer, () => queue.length === 0);
    }
  }

  fail(error: Error): void {
    const { culprit, reason } = causeOf(this.rank, error);
    this.#leave(State.failed, reason, culprit);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (Atomics.load(this.#words, controlAt(this.rank) / 4 + Control.state) === State.running) {
      this.#leave(State.closed, `rank ${this.rank} left the group`, this.rank);
    }
    if (this.#table !== 0) this.#options.heap.free(this.#table);
    this.#options.onClose?.();
  }

  #sharedMemory({ bases, bytes }: { readonly bases: readonly number[]; readonly bytes: number }): SharedMemory {
    const { heap } = this.#options;
    const word = (rank: number, index: number): number => controlAt(rank) / 4 + index;
    const barrier = (): void => {
      const turn = Atomics.add(this.#words, word(this.rank, Control.arrivals), 1) + 1;
      for (let peer = 0; peer < this.size; peer++) if (peer !== this.rank) this.#ring(peer);
      for (let peer = 0; peer < this.size; peer++) {
        const arrivals = word(peer, Control.arrivals);
        if (((Atomics.load(this.#words, arrivals) - turn) | 0) >= 0) continue;
        this.#waitUntil(peer, () => ((Atomics.load(this.#words, arrivals) - turn) | 0) >= 0);
      }
    };
    const note = (peer: number): number => this.#window + 4 * word(peer, Control.note);
    this.#table = heap.alloc(this.size * heap.addressBytes);
    const addresses = heap.addresses(this.#table, this.size);
    return {
      barrier,
      note,
      exchange: (buffer, own) => {
        const offset = buffer - bases[this.rank]!;
        const readable = offset >= 0 && offset < bytes;
        this.#words[word(this.rank, Control.buffer)] = readable ? offset / 4 : OUTSIDE;
        this.#kernels.copyBytes(note(this.rank), own, NOTE_BYTES);
        barrier();
        for (let peer = 0; peer < this.size; peer++) {
          const at = this.#words[word(peer, Control.buffer)]!;
          if (at === OUTSIDE) return 0;
          addresses[peer] = bases[peer]! + 4 * (at >>> 0);
        }
        return this.#table;
      },
    };
  }

  #leave(state: number, reason: string, culprit: number): void {
    announce(this.#words, this.#bytes, { rank: this.rank, state, reason, culprit });
    for (let peer = 0; peer < this.size; peer++) if (peer !== this.rank) this.#ring(peer, true);
  }

  /** Copies pieces of the oldest sends into free slots. Returns whether any went. */
  #push(peer: number): boolean {
    const queue = this.#queues[peer]!;
    const pair = pairAt(this.size, this.rank, peer);
    const words = this.#words;
    let moved = false;
    while (queue.length > 0) {
      const head = Atomics.load(words, pair / 4 + Pair.head);
      if (((head - Atomics.load(words, pair / 4 + Pair.tail)) | 0) >= SLOTS) break;
      const length = Math.min(SLOT_BYTES, queue.bytes(0));
      this.#kernels.copyBytes(this.#window + slotAt(pair, head), queue.address(0), length);
      words[pair / 4 + Pair.lengths + (head % SLOTS)] = length;
      Atomics.store(words, pair / 4 + Pair.head, (head + 1) | 0);
      queue.advance(length);
      this.#ring(peer);
      moved = true;
    }
    return moved;
  }

  #progress(): boolean {
    let moved = false;
    for (let peer = 0; peer < this.size; peer++) if (this.#push(peer)) moved = true;
    return moved;
  }

  #ring(peer: number, always = false): void {
    const control = controlAt(peer) / 4;
    Atomics.add(this.#words, control + Control.doorbell, 1);
    if (always || Atomics.load(this.#words, control + Control.sleeping) !== 0) {
      this.#signal.notify(control + Control.doorbell);
    }
  }

  /** Sends go on while it waits. */
  #waitUntil(peer: number, ready: () => boolean): void {
    const words = this.#words;
    const control = controlAt(this.rank) / 4;
    let started = performance.now();
    for (let spin = 1; ; spin++) {
      const bell = Atomics.load(words, control + Control.doorbell);
      if (this.#progress()) {
        started = performance.now();
      }
      if (ready()) return;
      if (spin < SPINS) continue;
      const waited = performance.now() - started;
      if (waited < SPIN_MS) {
        this.#signal.yield();
        spin = 1;
        continue;
      }
      try {
        this.#throwIfFailed(peer);
      } catch (error) {
        // What is waited for may have come just before the end.
        if (ready()) return;
        throw error;
      }
      if (waited > this.#stallMs) {
        throw new StallError(peer, `nothing came from rank ${peer} for ${this.#stallMs / 1000} s`);
      }
      Atomics.store(words, control + Control.sleeping, 1);
      if (Atomics.load(words, control + Control.doorbell) === bell) {
        this.#signal.wait(control + Control.doorbell, bell, CHECK_MS);
      }
      Atomics.store(words, control + Control.sleeping, 0);
    }
  }

  /** A rank that failed is named; one that closed matters only to who waits for it, as others may have finished. */
  #throwIfFailed(waitsFor: number): void {
    for (let peer = 0; peer < this.size; peer++) {
      const control = controlAt(peer) / 4;
      const state = Atomics.load(this.#words, control + Control.state);
      if (peer === this.rank || state === State.running || (state === State.closed && peer !== waitsFor)) continue;
      const culprit = this.#words[control + Control.culprit]!;
      const text = this.#bytes
        .slice(4 * (control + Control.text))
        .subarray(0, this.#words[control + Control.textBytes]!);
      throw new PeerError(culprit, Buffer.from(text).toString());
    }
    this.#options.check?.(waitsFor);
  }
}

/** Writes into a window that a rank has ended. */
export function announce(
  words: Int32Array,
  bytes: Uint8Array,
  { rank, state, reason, culprit }: { rank: number; state: number; reason: string; culprit: number },
): void {
  const control = controlAt(rank) / 4;
  const text = Buffer.from(reason).subarray(0, MAX_TEXT_BYTES);
  bytes.set(text, 4 * (control + Control.text));
  words[control + Control.textBytes] = text.length;
  words[control + Control.culprit] = culprit;
  Atomics.store(words, control + Control.state, state);
}
