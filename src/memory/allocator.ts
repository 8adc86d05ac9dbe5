// The allocator of the shared heap, after Knuth's boundary tags: neighbours merge when freed, free blocks hang in lists
// by size. All its state lies in the shared memory under one lock, so every thread sees the same heap.
import { Lock } from "./threads.ts";

/** Memory below is never handed out: it holds the control block and catches null pointers. */
export const FIRST_BYTE = 65536;
/** Granularity and least alignment, a cache line. Internally everything counts in units. */
export const UNIT = 64;

const MAGIC = 0x666c6f74;
const USED = 0x55534544;
const FREE = 0x46524545;
const BINS = 29;

// Words of the control block.
const CONTROL = 1024;
const W_MAGIC = CONTROL;
const W_LOCK = CONTROL + 1;
/** Where unused memory starts. */
const W_TOP = CONTROL + 2;
/** Size of the last block below the top, 0 if there is none. */
const W_LAST = CONTROL + 3;
/** Memory from here on was never used, so it is still zero. */
const W_HIGH = CONTROL + 4;
const W_LIVE = CONTROL + 5;
const W_ADVISED = CONTROL + 6;
const W_BINS = CONTROL + 8;

// Words of a block's header, which fills the unit before the user's pointer.
const H_SIZE = 0;
const H_BEFORE = 1;
const H_STATE = 2;
const H_NEXT = 3;
const H_PREVIOUS = 4;

/** A block as the user sees it; its first `dirty` bytes may hold old data, the rest is zero. */
export interface Block {
  pointer: number;
  dirty: number;
}

export class Allocator {
  readonly #words: Uint32Array;
  readonly #end: number;
  readonly #lock: Lock;

  constructor(buffer: ArrayBufferLike) {
    this.#words = new Uint32Array(buffer);
    this.#end = buffer.byteLength / UNIT;
    this.#lock = new Lock(new Int32Array(buffer, 0, FIRST_BYTE / 4), W_LOCK);
  }

  initialise(): void {
    this.#words[W_TOP] = FIRST_BYTE / UNIT;
    this.#words[W_HIGH] = FIRST_BYTE / UNIT;
    Atomics.store(this.#words, W_MAGIC, MAGIC);
  }

  get initialised(): boolean {
    return Atomics.load(this.#words, W_MAGIC) === MAGIC;
  }

  /** Bytes in live blocks, headers included. */
  get liveBytes(): number {
    return Atomics.load(this.#words, W_LIVE) * UNIT;
  }

  /** True to the first caller of all threads once the heap reaches `bytes`. */
  firstBeyond(bytes: number): boolean {
    const words = this.#words;
    return words[W_TOP]! * UNIT >= bytes && words[W_ADVISED] === 0 && Atomics.exchange(words, W_ADVISED, 1) === 0;
  }

  /** Takes a block; undefined when no room is left. */
  take(bytes: number, align: number): Block | undefined {
    const size = 1 + Math.max(1, Math.ceil(bytes / UNIT));
    const alignUnits = Math.max(1, align / UNIT);
    const words = this.#words;
    this.#lock.acquire("the heap");
    try {
      let block = this.#takeFree(size, alignUnits);
      if (block < 0) block = this.#takeTop(size, alignUnits);
      if (block < 0) return undefined;
      const taken = this.#word(block, H_SIZE);
      const high = words[W_HIGH]!;
      words[W_LIVE] = words[W_LIVE]! + taken;
      words[W_HIGH] = Math.max(high, block + taken);
      return { pointer: (block + 1) * UNIT, dirty: Math.max(0, Math.min(high - block, size) - 1) * UNIT };
    } finally {
      this.#lock.release();
    }
  }

  /** Gives a block back. @throws when `pointer` is not a live block. */
  give(pointer: number): void {
    const words = this.#words;
    let block = pointer / UNIT - 1;
    if (!Number.isInteger(block) || block < FIRST_BYTE / UNIT || block >= this.#end) {
      throw new RangeError(`free: ${pointer} is not a pointer that alloc gave`);
    }
    this.#lock.acquire("the heap");
    try {
      const state = this.#word(block, H_STATE);
      if (block >= words[W_TOP]! || state === FREE) throw new RangeError(`free: ${pointer} is already free`);
      if (state !== USED) throw new RangeError(`free: ${pointer} is not a pointer that alloc gave`);
      let size = this.#word(block, H_SIZE);
      words[W_LIVE] = words[W_LIVE]! - size;
      this.#set(block, H_STATE, FREE);
      const after = block + size;
      if (after < words[W_TOP]! && this.#word(after, H_STATE) === FREE) {
        this.#unlink(after);
        size += this.#word(after, H_SIZE);
      }
      const before = this.#word(block, H_BEFORE);
      if (before > 0 && this.#word(block - before, H_STATE) === FREE) {
        block -= before;
        this.#unlink(block);
        size += before;
      }
      if (block + size === words[W_TOP]) {
        words[W_TOP] = block;
        words[W_LAST] = this.#word(block, H_BEFORE);
      } else {
        this.#link(block, size);
      }
    } finally {
      this.#lock.release();
    }
  }

  #word(block: number, word: number): number {
    return this.#words[block * (UNIT / 4) + word]!;
  }

  #set(block: number, word: number, value: number): void {
    this.#words[block * (UNIT / 4) + word] = value;
  }

  /** Takes from the free lists; -1 when none fits. */
  #takeFree(size: number, alignUnits: number): number {
    for (let bin = binOf(size); bin < BINS; bin++) {
      for (let block = this.#words[W_BINS + bin]!; block !== 0; block = this.#word(block, H_NEXT)) {
        const total = this.#word(block, H_SIZE);
        const gap = gapBefore(block, alignUnits);
        const rest = total - gap - size;
        if (rest < 0) continue;
        this.#unlink(block);
        const before = gap > 0 ? gap : this.#word(block, H_BEFORE);
        if (gap > 0) this.#link(block, gap);
        const start = block + gap;
        const split = rest >= 2;
        this.#use(start, split ? size : size + rest, before);
        if (split) this.#link(start + size, rest);
        return start;
      }
    }
    return -1;
  }

  /** Takes unused memory above all blocks; -1 when too little is left. */
  #takeTop(size: number, alignUnits: number): number {
    const words = this.#words;
    const top = words[W_TOP]!;
    const gap = gapBefore(top, alignUnits);
    const start = top + gap;
    if (start + size > this.#end) return -1;
    let before = words[W_LAST]!;
    words[W_TOP] = start + size;
    if (gap > 0) {
      this.#set(top, H_BEFORE, before);
      this.#link(top, gap);
      before = gap;
    }
    this.#use(start, size, before);
    return start;
  }

  #use(block: number, size: number, before: number): void {
    this.#set(block, H_STATE, USED);
    this.#set(block, H_BEFORE, before);
    this.#resize(block, size);
  }

  /** Writes a block's size, also where its neighbour above reads it. */
  #resize(block: number, size: number): void {
    this.#set(block, H_SIZE, size);
    const after = block + size;
    if (after < this.#words[W_TOP]!) this.#set(after, H_BEFORE, size);
    else this.#words[W_LAST] = size;
  }

  #link(block: number, size: number): void {
    const bin = W_BINS + binOf(size);
    const next = this.#words[bin]!;
    this.#set(block, H_STATE, FREE);
    this.#set(block, H_NEXT, next);
    this.#set(block, H_PREVIOUS, 0);
    if (next !== 0) this.#set(next, H_PREVIOUS, block);
    this.#words[bin] = block;
    this.#resize(block, size);
  }

  #unlink(block: number): void {
    const next = this.#word(block, H_NEXT);
    const previous = this.#word(block, H_PREVIOUS);
    if (next !== 0) this.#set(next, H_PREVIOUS, previous);
    if (previous !== 0) this.#set(previous, H_NEXT, next);
    else this.#words[W_BINS + binOf(this.#word(block, H_SIZE))] = next;
  }
}

function binOf(size: number): number {
  return Math.min(BINS - 1, 31 - Math.clz32(size));
}

/** Units to leave free before a block so that its user's pointer, one unit later, is aligned; a block has at least 2. */
function gapBefore(block: number, alignUnits: number): number {
  const gap = (alignUnits - ((block + 1) % alignUnits)) % alignUnits;
  return gap === 1 ? gap + alignUnits : gap;
}
