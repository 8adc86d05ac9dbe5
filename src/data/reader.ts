// The loop of one reader thread: claim a piece of a file, decode its rows into free slots, publish full ones.
import type { Heap } from "../memory/index.ts";
import { BadLineError, type Decoder, type NewDecoder } from "./decoder.ts";
import { type BadLine, DataError } from "./errors.ts";
import type { DataFile } from "./files.ts";
import { padRows, weigher } from "./padding.ts";
import {
  COMMAND,
  FAILED,
  FILLING,
  type FileRange,
  FREE,
  FREED,
  NEXT_UNIT,
  PAUSE,
  type PipelineHandle,
  RANGES,
  READER_BAD_LINES,
  READER_BYTES,
  READER_END,
  READER_FILE,
  READER_ROWS,
  READER_START,
  READER_STATUS,
  READY,
  RESUMED,
  Rings,
  ROWS,
  SEQUENCE,
  SLOT_SEQUENCE,
  STATE,
  STATUS_DONE,
  STATUS_PARKED,
  STATUS_RUNNING,
  STOP,
} from "./ring.ts";
import { ShuffleWindow } from "./shuffle-window.ts";
import type { DatasetSpec } from "./spec.ts";
import { lineNumber } from "./text-blocks.ts";

/** What a reader thread is started with. */
export interface ReaderWork {
  readonly handle: PipelineHandle;
  readonly spec: DatasetSpec;
  readonly files: readonly DataFile[];
  readonly units: readonly FileRange[];
  readonly reader: number;
  /** Mix rows among this many, by this seed. */
  readonly shuffle?: { readonly rows: number; readonly seed: number };
}

/** Bad lines that are described in full; later ones are only counted. */
export const REPORTED_LINES = 5;

export class Reader {
  readonly #work: ReaderWork;
  readonly #rings: Rings;
  readonly #decoder: Decoder;
  readonly #stats: Float64Array;
  readonly #heap: Heap;
  readonly #report: (line: string) => void;
  readonly #badLines: { file: DataFile; line: BadLine }[] = [];
  readonly #window: ShuffleWindow | undefined;
  readonly #weightOf: (address: number, rows: number) => number;
  #unit: FileRange | undefined;
  #bytesBefore = 0;

  /** @param report receives the description of the first bad lines that are skipped */
  constructor(heap: Heap, work: ReaderWork, newDecoder: NewDecoder, report: (line: string) => void) {
    this.#work = work;
    this.#report = report;
    this.#rings = new Rings(heap, work.handle);
    this.#stats = this.#rings.reader(work.reader);
    const { layout } = work.handle;
    this.#window = work.shuffle === undefined ? undefined : new ShuffleWindow(heap, layout, work.shuffle.rows);
    this.#decoder = newDecoder(heap, work.spec, this.#window?.layout ?? layout, (line) => this.#onBadLine(line));
    this.#heap = heap;
    this.#weightOf = weigher(heap, layout);
  }

  /** Reads until no work is left or the pipeline stops. */
  async run(): Promise<void> {
    try {
      while (await this.#batch());
      this.#stats[READER_STATUS] = STATUS_DONE;
      this.#rings.leave();
    } catch (error) {
      const words = this.#rings.words;
      Atomics.store(words, FAILED, 1);
      Atomics.store(words, COMMAND, STOP);
      this.#rings.leave();
      Atomics.add(words, FREED, 1);
      Atomics.notify(words, FREED);
      throw await this.#located(error);
    } finally {
      this.#decoder.close();
      this.#decoder.free();
      this.#window?.free();
    }
  }

  /** Fills and publishes one slot; false when there is nothing more to do. */
  async #batch(): Promise<boolean> {
    const window = this.#window;
    // Rows of a window that is begun go out before a pause: what is left is then a matter of places in files again.
    const slot = this.#acquire(window !== undefined && window.left > 0);
    if (slot < 0) return this.#park();
    const address = this.#rings.address(slot);
    this.#rings.header(slot)[RANGES] = 0;
    let rows: number;
    if (window === undefined) {
      rows = await this.#decode(address, this.#work.handle.layout.batch, (file, start, end) =>
        this.#rings.addRange(slot, file, start, end),
      );
    } else {
      if (window.left === 0) await this.#fillWindow(window);
      rows = window.take(address);
    }
    const { spec, handle } = this.#work;
    if (spec.format === "tensors" && spec.lastBatch === "drop" && rows < handle.layout.batch) rows = 0;
    this.#stats[READER_ROWS]! += rows;
    this.#publish(slot, rows);
    return rows > 0;
  }

  /** Decodes up to `most` rows to the address; fewer at the end of the data. */
  async #decode(
    address: number,
    most: number,
    onRange: (file: number, start: number, end: number) => void,
  ): Promise<number> {
    const decoder = this.#decoder;
    let rows = 0;
    while (rows < most) {
      if (this.#unit === undefined && !(await this.#claim())) break;
      const from = decoder.position;
      const filled = decoder.fill(address, rows, most - rows);
      rows += filled;
      if (filled > 0) onRange(this.#unit!.file, from, decoder.position);
      else if (!(await this.#advance())) this.#finishUnit();
    }
    return rows;
  }

  /** The place of its first row decides a window's order, so that a resumed run mixes as it would have. */
  async #fillWindow(window: ShuffleWindow): Promise<void> {
    let seed = this.#work.shuffle!.seed;
    let first = true;
    const rows = await this.#decode(window.address, window.capacity, (file, start) => {
      if (first) seed = (seed ^ Math.imul(file + 1, 0x9e3779b1) ^ Math.imul(start % 2 ** 32, 0x85ebca6b)) >>> 0;
      first = false;
    });
    window.filled(rows, seed);
  }

  /**
   * A free slot, marked as being filled. Blocks while all slots are in use.
   * @returns −1 when the pipeline is to stop, or to pause and `busy` is not set
   */
  #acquire(busy: boolean): number {
    const { words } = this.#rings;
    for (;;) {
      const freed = Atomics.load(words, FREED);
      const command = Atomics.load(words, COMMAND);
      if (command === STOP || (command === PAUSE && !busy)) return -1;
      const slot = this.#findFree();
      if (slot < 0) Atomics.wait(words, FREED, freed);
      else if (Atomics.compareExchange(this.#rings.header(slot), STATE, FREE, FILLING) === FREE) return slot;
    }
  }

  /** The ring whose turn it is, or the emptiest one. */
  #findFree(): number {
    const { trainers, slots, turns } = this.#work.handle;
    const turn = (Atomics.load(this.#rings.words, SEQUENCE) >>> 0) % trainers;
    let best = -1;
    let mostFree = 0;
    for (let i = 0; i < (turns ? 1 : trainers); i++) {
      const first = ((turn + i) % trainers) * slots;
      let free = 0;
      let found = -1;
      for (let slot = first; slot < first + slots; slot++) {
        if (Atomics.load(this.#rings.header(slot), STATE) !== FREE) continue;
        free++;
        found = slot;
      }
      if (free > mostFree) {
        mostFree = free;
        best = found;
      }
    }
    return best;
  }

  #publish(slot: number, rows: number): void {
    const { words, handle } = this.#rings;
    const header = this.#rings.header(slot);
    if (rows === 0) {
      Atomics.store(header, STATE, FREE);
      Atomics.add(words, FREED, 1);
      Atomics.notify(words, FREED);
      return;
    }
    const address = this.#rings.address(slot);
    padRows(this.#heap, handle.layout, address, rows);
    header[ROWS] = rows;
    const weight = this.#weightOf(address, rows);
    if (Number.isNaN(weight)) {
      throw new DataError('column "weight" has a number below 0 or one that is not finite', this.#work.files[0]!.path);
    }
    this.#rings.setWeight(slot, weight);
    header[SLOT_SEQUENCE] = Atomics.add(words, SEQUENCE, 1);
    Atomics.store(header, STATE, READY);
    this.#rings.wake(Math.floor(slot / handle.slots));
  }

  async #claim(): Promise<boolean> {
    const { units, files } = this.#work;
    const unit = units[Atomics.add(this.#rings.words, NEXT_UNIT, 1)];
    if (unit === undefined) return false;
    this.#unit = unit;
    await this.#decoder.open(files[unit.file]!, unit);
    return true;
  }

  async #advance(): Promise<boolean> {
    const more = await this.#decoder.advance();
    this.#stats[READER_BYTES] = this.#bytesBefore + this.#decoder.fileBytes;
    await this.#describeBadLines();
    return more;
  }

  #finishUnit(): void {
    this.#bytesBefore += this.#decoder.fileBytes;
    this.#stats[READER_BYTES] = this.#bytesBefore;
    this.#decoder.close();
    this.#unit = undefined;
  }

  /** Stands still while the pipeline is paused; false when it stops. */
  #park(): boolean {
    const { words } = this.#rings;
    if (Atomics.load(words, COMMAND) === PAUSE) {
      this.#stats[READER_FILE] = this.#unit?.file ?? -1;
      this.#stats[READER_START] = this.#unit === undefined ? 0 : this.#decoder.position;
      this.#stats[READER_END] = this.#unit?.end ?? 0;
      this.#stats[READER_STATUS] = STATUS_PARKED;
      const resumed = Atomics.load(words, RESUMED);
      this.#rings.leave();
      while (Atomics.load(words, RESUMED) === resumed) Atomics.wait(words, RESUMED, resumed);
      this.#stats[READER_STATUS] = STATUS_RUNNING;
    }
    return Atomics.load(words, COMMAND) !== STOP;
  }

  #onBadLine(line: BadLine): void {
    const { spec } = this.#work;
    if (spec.format === "parquet" || spec.format === "tensors" || spec.onBadLine === "fail")
      throw new BadLineError(line);
    this.#stats[READER_BAD_LINES]!++;
    if (this.#stats[READER_BAD_LINES]! <= REPORTED_LINES) {
      this.#badLines.push({ file: this.#work.files[this.#unit!.file]!, line });
    }
  }

  async #describeBadLines(): Promise<void> {
    for (let bad = this.#badLines.shift(); bad !== undefined; bad = this.#badLines.shift()) {
      this.#report((await describeBadLine(bad.file, bad.line)).message);
    }
  }

  async #located(error: unknown): Promise<unknown> {
    if (!(error instanceof BadLineError)) return error;
    const advice = 'mend the line, or pass onBadLine: "skip" to leave such lines out';
    return describeBadLine(this.#work.files[this.#unit!.file]!, error.badLine, advice);
  }
}

async function describeBadLine(file: DataFile, line: BadLine, advice?: string): Promise<DataError> {
  const number = await lineNumber(file.path, file.gzip, line.offset);
  return new DataError(line.problem + (advice === undefined ? "" : `; ${advice}`), file.path, number);
}
