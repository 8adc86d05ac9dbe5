// The shared memory of a pipeline: control words, what each reader is at, and a ring of batch slots per trainer.
// A slot is free → filling (a reader owns it) → ready → taken (a trainer owns it) → free.
import type { Heap } from "../memory/index.ts";
import { alignUp, type BatchLayout } from "./layout.ts";

/** Cloneable: what trainers and readers need to find the rings in the heap. */
export interface PipelineHandle {
  readonly control: number;
  readonly slotsAt: number;
  readonly trainers: number;
  /** Slots of each trainer's ring. */
  readonly slots: number;
  readonly readers: number;
  /** Batches go to the trainers in turn, else where most slots are free. */
  readonly turns: boolean;
  readonly layout: BatchLayout;
}

/** A piece of a file: bytes of (uncompressed) text, or rows of a Parquet file. `file` is an index. */
export interface FileRange {
  readonly file: number;
  readonly start: number;
  /** Exclusive; Infinity: to the end of a stream whose length is not known. */
  readonly end: number;
}

export const FREE = 0;
export const FILLING = 1;
export const READY = 2;
export const TAKEN = 3;

export const RUN = 0;
export const PAUSE = 1;
export const STOP = 2;

// Words of the control block, on cache lines of their own where several threads write them.
export const COMMAND = 0;
export const FAILED = 1;
/** Counts the ends of pauses: a reader that is slow to wake up must not take the next pause for the last one. */
export const RESUMED = 2;
export const NEXT_UNIT = 16;
export const FREED = 32;
/** Readers that may still publish: not finished, not paused. */
export const ACTIVE = 48;
export const SEQUENCE = 64;
/** Batches given back by trainers. */
export const RELEASED = 80;
/** Trainers that wait for a batch. */
export const WAITING = 96;
const RINGS = 112;
// Words of a ring's control: a counter that every event bumps, and whether its trainer shall stop waiting.
export const SIGNAL = 0;
export const INTERRUPT = 1;
const RING_WORDS = 16;

// Float64 fields of a reader's block.
export const READER_BYTES = 0;
export const READER_ROWS = 1;
export const READER_FILE = 2;
export const READER_START = 3;
export const READER_END = 4;
export const READER_BAD_LINES = 5;
export const READER_STATUS = 6;
const READER_FIELDS = 8;
export const STATUS_RUNNING = 0;
/** Stands still; its file (−1: none) and the range left of it are noted. */
export const STATUS_PARKED = 1;
export const STATUS_DONE = 2;

// A slot: a header line, the columns, then the file ranges its rows came from (file, start, end as float64).
export const HEADER_BYTES = 64;
export const STATE = 0;
export const SLOT_SEQUENCE = 1;
export const ROWS = 2;
export const RANGES = 3;
/** Where in the header line the weight of the rows stands, as float64: bytes from its start. */
const WEIGHT_BYTE = 16;
const RANGE_FIELDS = 3;

const controlBytes = (handle: Pick<PipelineHandle, "trainers" | "readers">): number =>
  4 * (RINGS + RING_WORDS * handle.trainers) + 8 * READER_FIELDS * handle.readers;
const slotStride = (layout: BatchLayout): number =>
  HEADER_BYTES + layout.bytes + alignUp(layout.batch * RANGE_FIELDS * 8);

/** One thread's view of the rings. */
export class Rings {
  readonly handle: PipelineHandle;
  readonly words: Int32Array;
  readonly #readers: Float64Array;
  readonly #heap: Heap;
  readonly #stride: number;
  readonly #headers: Int32Array[];
  readonly #weights: Float64Array[];

  constructor(heap: Heap, handle: PipelineHandle) {
    this.handle = handle;
    this.#heap = heap;
    this.#stride = slotStride(handle.layout);
    const words = RINGS + RING_WORDS * handle.trainers;
    this.words = heap.i32(handle.control, words);
    this.#readers = heap.f64(handle.control + 4 * words, READER_FIELDS * handle.readers);
    const count = handle.trainers * handle.slots;
    const weightOf = (slot: number): number => this.address(slot) - HEADER_BYTES + WEIGHT_BYTE;
    this.#weights = Array.from({ length: count }, (_, slot) => heap.f64(weightOf(slot), 1));
    this.#headers = Array.from({ length: count }, (_, slot) => heap.i32(this.address(slot) - HEADER_BYTES, 16));
  }

  static create(heap: Heap, shape: Omit<PipelineHandle, "control" | "slotsAt">): Rings {
    const control = heap.alloc(controlBytes(shape));
    const slotsAt = heap.alloc(slotStride(shape.layout) * shape.trainers * shape.slots);
    const rings = new Rings(heap, { ...shape, control, slotsAt });
    Atomics.store(rings.words, ACTIVE, shape.readers);
    return rings;
  }

  free(): void {
    this.#heap.free(this.handle.control);
    this.#heap.free(this.handle.slotsAt);
  }

  /** Where the columns of slot `slot` (over all rings) start. */
  address(slot: number): number {
    return this.handle.slotsAt + slot * this.#stride + HEADER_BYTES;
  }

  header(slot: number): Int32Array {
    return this.#headers[slot]!;
  }

  /** Index in `words` of a control word of a trainer's ring. */
  ringWord(trainer: number, word: number): number {
    return RINGS + RING_WORDS * trainer + word;
  }

  /** The float64 fields of one reader. */
  reader(index: number): Float64Array {
    return this.#readers.subarray(READER_FIELDS * index, READER_FIELDS * (index + 1));
  }

  /** What the rows of a slot weigh together. */
  weight(slot: number): number {
    return this.#weights[slot]![0]!;
  }

  setWeight(slot: number, weight: number): void {
    this.#weights[slot]![0] = weight;
  }

  /** The ranges that the rows of a slot came from. */
  ranges(slot: number): FileRange[] {
    const count = this.header(slot)[RANGES]!;
    const fields = this.#rangeFields(slot, count);
    return Array.from({ length: count }, (_, i) => ({
      file: fields[3 * i]!,
      start: fields[3 * i + 1]!,
      end: fields[3 * i + 2]!,
    }));
  }

  /** Notes that rows of the slot came from a range, joined to the one before where it continues it. */
  addRange(slot: number, file: number, start: number, end: number): void {
    const header = this.header(slot);
    const count = header[RANGES]!;
    const fields = this.#rangeFields(slot, count + 1);
    const last = 3 * (count - 1);
    if (count > 0 && fields[last] === file && fields[last + 2] === start) {
      fields[last + 2] = end;
      return;
    }
    fields.set([file, start, end], 3 * count);
    header[RANGES] = count + 1;
  }

  #rangeFields(slot: number, count: number): Float64Array {
    return this.#heap.f64(this.address(slot) + this.handle.layout.bytes, RANGE_FIELDS * count);
  }

  /** Wakes the trainers that wait for a batch: all, or one. */
  wake(trainer?: number): void {
    for (let t = trainer ?? 0; t < (trainer === undefined ? this.handle.trainers : trainer + 1); t++) {
      const signal = this.ringWord(t, SIGNAL);
      Atomics.add(this.words, signal, 1);
      Atomics.notify(this.words, signal);
    }
  }

  /** A reader will publish no more (or not for now). The last one ends the queues. */
  leave(): void {
    const left = Atomics.sub(this.words, ACTIVE, 1) - 1;
    Atomics.notify(this.words, ACTIVE);
    if (left <= 0) this.wake();
  }
}
