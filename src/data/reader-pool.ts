// The threads behind a pipeline: started, paused, asked what is left, stopped.
import type { Heap } from "../memory/index.ts";
import { DataError } from "./errors.ts";
import type { DataFile } from "./files.ts";
import type { BatchLayout } from "./layout.ts";
import type { BadLines, Pipeline, PipelineState, Progress } from "./pipeline.ts";
import type { ReaderWork } from "./reader.ts";
import { REPORTED_LINES } from "./reader.ts";
import { runReader } from "./reader-threads.ts";
import type { ReaderMessage } from "./reader-worker.ts";
import {
  ACTIVE,
  COMMAND,
  FAILED,
  type FileRange,
  FREE,
  FREED,
  INTERRUPT,
  NEXT_UNIT,
  PAUSE,
  type PipelineHandle,
  READER_BAD_LINES,
  READER_BYTES,
  READER_END,
  READER_FILE,
  READER_ROWS,
  READER_START,
  READER_STATUS,
  RELEASED,
  RESUMED,
  type Rings,
  ROWS,
  RUN,
  SLOT_SEQUENCE,
  STATE,
  STATUS_DONE,
  STATUS_PARKED,
  STOP,
} from "./ring.ts";
import type { DatasetSpec } from "./spec.ts";

export interface PoolWork {
  readonly spec: DatasetSpec;
  readonly files: readonly DataFile[];
  readonly units: readonly FileRange[];
  /** Rows delivered before this run was resumed. */
  readonly rowsBefore: number;
  readonly shuffle?: NonNullable<ReaderWork["shuffle"]>;
}

export class ReaderPool implements Pipeline {
  readonly layout: BatchLayout;
  readonly handle: PipelineHandle;
  readonly finished: Promise<void>;
  readonly #rings: Rings;
  readonly #work: PoolWork;
  readonly #exits: Promise<void>[];
  readonly #badLines: string[] = [];
  #error: unknown;
  #closing: Promise<void> | undefined;
  #last: { progress: Progress; badLines: BadLines } | undefined;

  constructor(heap: Heap, rings: Rings, work: PoolWork) {
    this.#rings = rings;
    this.#work = work;
    this.handle = rings.handle;
    this.layout = rings.handle.layout;
    const { spec, files, units, shuffle } = work;
    const mixing = shuffle === undefined ? {} : { shuffle };
    this.#exits = Array.from({ length: rings.handle.readers }, (_, reader) => {
      const task = { memory: heap.memory, work: { handle: rings.handle, spec, files, units, reader, ...mixing } };
      return runReader(task, (message) => this.#receive(message)).catch((error) => this.#die(error));
    });
    this.finished = Promise.all(this.#exits).then(() => {
      if (this.#error !== undefined) throw this.#error;
    });
    // Whoever awaits it gets the error; an unwatched pipeline must not bring the process down.
    this.finished.catch(() => undefined);
  }

  #receive(message: ReaderMessage): void {
    if (message.type === "badLine") {
      if (this.#badLines.length < REPORTED_LINES) this.#badLines.push(message.text);
    } else if (message.type === "error") {
      const { place, error } = message;
      this.#die(place === undefined ? error : new DataError(place.problem, place.file, place.line));
    }
  }

  /** Ends the queues, also where a thread died without saying goodbye. */
  #die(error: unknown): void {
    this.#error ??= error;
    Atomics.store(this.#rings.words, FAILED, 1);
    this.#command(STOP);
    Atomics.store(this.#rings.words, ACTIVE, 0);
    Atomics.notify(this.#rings.words, ACTIVE);
    this.#rings.wake();
  }

  progress(): Progress {
    if (this.#last !== undefined) return this.#last.progress;
    const { files, units, rowsBefore, spec } = this.#work;
    const rows = rowsBefore + this.#sum(READER_ROWS);
    const exact =
      (spec.format === "parquet" || spec.format === "tensors") && spec.where.every((filter) => "rows" in filter);
    const bytesLeft = units.reduce((sum, unit) => sum + unitBytes(unit, files), 0);
    const read = Math.min(bytesLeft, this.#sum(READER_BYTES));
    const rowsLeft = exact
      ? units.reduce((sum, unit) => sum + unit.end - unit.start, 0)
      : read > 0
        ? (this.#sum(READER_ROWS) * bytesLeft) / read
        : 0;
    const ended = !this.#running && Atomics.load(this.#rings.words, COMMAND) === RUN;
    return {
      rows,
      estimatedRows: ended ? rows : Math.max(rows, rowsBefore + Math.round(rowsLeft)),
      bytes: ended ? bytesLeft : read,
      totalBytes: bytesLeft,
    };
  }

  badLines(): BadLines {
    if (this.#last !== undefined) return this.#last.badLines;
    return { count: this.#sum(READER_BAD_LINES), first: [...this.#badLines] };
  }

  async pause(): Promise<void> {
    const { words } = this.#rings;
    if (Atomics.load(words, COMMAND) === RUN) this.#command(PAUSE);
    for (;;) {
      const active = Atomics.load(words, ACTIVE);
      if (active <= 0) break;
      const waiting = Atomics.waitAsync(words, ACTIVE, active);
      if (waiting.async) await waiting.value;
    }
    if (this.#error !== undefined) throw this.#error;
  }

  continue(): void {
    const { words } = this.#rings;
    if (Atomics.load(words, COMMAND) !== PAUSE) throw new Error("continue: the pipeline is not paused");
    if (this.#running) throw new Error("continue: pause() has not been awaited");
    const left = this.#readers().filter((fields) => fields[READER_STATUS] !== STATUS_DONE).length;
    Atomics.store(words, ACTIVE, left);
    this.#command(RUN);
  }

  state(): PipelineState {
    if (this.#running) throw new Error("state: await pause() first; readers are still at work");
    const { words } = this.#rings;
    const { files, units } = this.#work;
    const slots = this.#undelivered();
    if (this.#work.shuffle !== undefined && slots.length > 0) {
      throw new Error(
        `state: ${slots.length} batches of mixed rows are not released yet, and only trainers can finish them; take batches until the queues end, or use shuffleWindow: 0`,
      );
    }
    const inSlots = slots.flatMap((slot) => this.#rings.ranges(slot));
    const inReaders = this.#readers()
      .filter((fields) => fields[READER_STATUS] === STATUS_PARKED && fields[READER_FILE]! >= 0)
      .map((fields) => ({ file: fields[READER_FILE]!, start: fields[READER_START]!, end: fields[READER_END]! }));
    const begun = [...inSlots, ...inReaders];
    if (!this.handle.turns) begun.sort((a, b) => a.file - b.file || a.start - b.start);
    const ranges = joined([...begun, ...units.slice(Atomics.load(words, NEXT_UNIT))]);
    const undelivered = slots.reduce((sum, slot) => sum + this.#rings.header(slot)[ROWS]!, 0);
    return {
      version: 1,
      delivered: Atomics.load(words, RELEASED),
      rows: this.#work.rowsBefore + this.#sum(READER_ROWS) - undelivered,
      files: files.map(({ path, bytes }) => ({ path, bytes })),
      ranges: ranges.map(({ file, start, end }) => ({ file, start, ...(Number.isFinite(end) ? { end } : {}) })),
    };
  }

  interrupt(trainer?: number): void {
    for (const t of trainer === undefined ? Array(this.handle.trainers).keys() : [trainer]) {
      Atomics.store(this.#rings.words, this.#rings.ringWord(t, INTERRUPT), 1);
      this.#rings.wake(t);
    }
  }

  clearInterrupt(): void {
    for (let t = 0; t < this.handle.trainers; t++) {
      Atomics.store(this.#rings.words, this.#rings.ringWord(t, INTERRUPT), 0);
    }
  }

  close(): Promise<void> {
    if (this.#closing === undefined) this.#closing = this.#stop();
    return this.#closing;
  }

  async #stop(): Promise<void> {
    const progress = this.progress();
    this.#command(STOP);
    this.interrupt();
    await Promise.all(this.#exits);
    this.#last = { progress, badLines: this.badLines() };
    this.#rings.free();
  }

  get #running(): boolean {
    return Atomics.load(this.#rings.words, ACTIVE) > 0;
  }

  #command(command: number): void {
    const { words } = this.#rings;
    Atomics.store(words, COMMAND, command);
    if (command !== PAUSE) {
      Atomics.add(words, RESUMED, 1);
      Atomics.notify(words, RESUMED);
    }
    Atomics.add(words, FREED, 1);
    Atomics.notify(words, FREED);
  }

  #readers(): Float64Array[] {
    return Array.from({ length: this.handle.readers }, (_, reader) => this.#rings.reader(reader));
  }

  #sum(field: number): number {
    return this.#readers().reduce((sum, fields) => sum + fields[field]!, 0);
  }

  /** Slots with rows that no trainer has given back, in the order in which they were filled. */
  #undelivered(): number[] {
    const slots = Array.from({ length: this.handle.trainers * this.handle.slots }, (_, slot) => slot);
    const sequence = (slot: number): number => this.#rings.header(slot)[SLOT_SEQUENCE]! >>> 0;
    return slots
      .filter((slot) => Atomics.load(this.#rings.header(slot), STATE) !== FREE)
      .sort((a, b) => sequence(a) - sequence(b));
  }
}

/** Ranges that continue each other become one: each costs an opened file, or an unpacked one. */
function joined(ranges: readonly FileRange[]): FileRange[] {
  const result: FileRange[] = [];
  for (const range of ranges) {
    const last = result.at(-1);
    if (last !== undefined && last.file === range.file && last.end === range.start) {
      result[result.length - 1] = { ...last, end: range.end };
    } else if (range.start < range.end) {
      result.push(range);
    }
  }
  return result;
}

/** What a unit will add to the readers' byte counts. */
function unitBytes(unit: FileRange, files: readonly DataFile[]): number {
  const file = files[unit.file]!;
  if (file.rowGroups.length > 0) return (file.bytes * (unit.end - unit.start)) / Math.max(1, file.end);
  return file.gzip ? file.bytes : unit.end - unit.start;
}
