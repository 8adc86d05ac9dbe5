// Files of word vectors. Both formats of the original program: a line "words dim", then for each word its text, a space and
// its numbers, as f32 little endian or as decimals. gensim and fastText read and write the same.
import { createReadStream } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import { replaceFile } from "../checkpoint/index.ts";
import { DataError, quoted } from "../data/errors.ts";
import { Heap, MAX_HEAP_BYTES } from "../memory/index.ts";
import { strideOf } from "./matrices.ts";
import { formatOf, type VectorFormat } from "./vector-formats.ts";

/** What is saved. */
export interface VectorSource {
  readonly words: readonly string[];
  readonly dim: number;
  vectorAt(number: number): Float32Array;
}

const PIECE_BYTES = 1 << 20;
const LONGEST_WORD = 4096;
const MOST_DIM = 65536;
const NEWLINE = 10;
const SPACE = 32;
/** gzip packs no more than about 1032 bytes into one. */
const MOST_PACKED = 1040;

/** @throws CheckpointError where it cannot be written, Error where a word holds white space */
export async function saveVectors(path: string, source: VectorSource, format?: VectorFormat): Promise<void> {
  const record = (format ?? formatOf(path)) === "text" ? textRecord : binaryRecord;
  await replaceFile(path, async (temporary) => {
    const file = await open(temporary, "wx");
    try {
      await writeRecords(file, source, record);
      await file.sync();
    } finally {
      await file.close();
    }
  });
}

async function writeRecords(
  file: FileHandle,
  source: VectorSource,
  record: (word: string, vector: Float32Array) => Buffer,
): Promise<void> {
  const { words, dim } = source;
  let pieces: Buffer[] = [Buffer.from(`${words.length} ${dim}\n`)];
  let bytes = 0;
  for (const [number, word] of words.entries()) {
    if (word === "" || /\s/.test(word)) {
      throw new Error(`the word ${JSON.stringify(word)} is empty or holds white space, which vector files cannot keep`);
    }
    const piece = record(word, source.vectorAt(number));
    pieces.push(piece);
    bytes += piece.length;
    if (bytes < PIECE_BYTES) continue;
    await file.writeFile(Buffer.concat(pieces));
    pieces = [];
    bytes = 0;
  }
  await file.writeFile(Buffer.concat(pieces));
}

/** Nine digits tell any two f32 apart. */
function textRecord(word: string, vector: Float32Array): Buffer {
  let line = word;
  for (const value of vector) line += ` ${Number(value.toPrecision(9))}`;
  return Buffer.from(`${line}\n`);
}

function binaryRecord(word: string, vector: Float32Array): Buffer {
  const numbers = Buffer.alloc(4 * vector.length + 1, NEWLINE);
  const view = new DataView(numbers.buffer, numbers.byteOffset);
  vector.forEach((value, i) => {
    view.setFloat32(4 * i, value, true);
  });
  return Buffer.concat([Buffer.from(`${word} `), numbers]);
}

export interface LoadedVectors {
  readonly heap: Heap;
  readonly words: readonly string[];
  readonly rows: number;
  readonly dim: number;
  readonly stride: number;
  readonly address: number;
}

/** @throws DataError */
export async function loadVectors(path: string, options: { readonly maxBytes?: number } = {}): Promise<LoadedVectors> {
  const input = await VectorInput.open(path);
  try {
    const header = await input.header();
    const { rows, dim } = header;
    const stride = strideOf(dim);
    const heap = heapFor(path, 4 * stride * rows + 4 * rows * 16, options.maxBytes);
    const address = heap.alloc(4 * stride * rows);
    const words: string[] = [];
    const known = new Set<string>();
    const text = await input.isText(dim);
    const row = heap.f32(address, stride * rows);
    for (let number = 0; number < rows; number++) {
      const place = row.subarray(stride * number, stride * number + dim);
      const word = text ? await input.textRecord(place, number) : await input.binaryRecord(place, number);
      if (known.has(word)) throw new DataError(`has the word ${quoted(word)} twice`, path);
      known.add(word);
      words.push(word);
    }
    await input.expectEnd(rows);
    return { heap, words, rows, dim, stride, address };
  } finally {
    input.close();
  }
}

function heapFor(path: string, bytes: number, maxBytes?: number): Heap {
  const wanted =
    maxBytes ?? Math.min(MAX_HEAP_BYTES, Math.max(2 ** 26, Math.ceil((bytes * 1.1) / 65536) * 65536 + 2 ** 24));
  if (bytes < wanted) return Heap.create({ maxBytes: wanted });
  throw new DataError(
    `needs ${bytes} bytes of memory, more than the ${wanted} that a heap may have; keep fewer words`,
    path,
  );
}

/** The file as a stream of bytes with what is at hand in front. */
class VectorInput {
  readonly #path: string;
  readonly #bytes: number;
  readonly #gzip: boolean;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #close: () => void;
  #at: Buffer = Buffer.alloc(0);

  private constructor(path: string, bytes: number, gzip: boolean) {
    this.#path = path;
    this.#bytes = bytes;
    this.#gzip = gzip;
    const file = createReadStream(path, { highWaterMark: PIECE_BYTES });
    const gunzip = gzip ? createGunzip({ chunkSize: PIECE_BYTES }) : undefined;
    if (gunzip !== undefined) file.on("error", (error) => gunzip.destroy(error));
    this.#chunks = (gunzip === undefined ? file : file.pipe(gunzip))[Symbol.asyncIterator]();
    this.#close = (): void => {
      file.destroy();
      gunzip?.destroy();
    };
  }

  static async open(path: string): Promise<VectorInput> {
    const file = await open(path, "r");
    try {
      const head = Buffer.alloc(2);
      await file.read(head, 0, 2, 0);
      return new VectorInput(path, (await stat(path)).size, head[0] === 0x1f && head[1] === 0x8b);
    } finally {
      await file.close();
    }
  }

  close(): void {
    this.#close();
  }

  #fail(problem: string): DataError {
    return new DataError(problem, this.#path);
  }

  /** More bytes at hand; false at the end. */
  async #more(): Promise<boolean> {
    try {
      const { value, done } = await this.#chunks.next();
      if (done) return false;
      this.#at = this.#at.length === 0 ? value : Buffer.concat([this.#at, value]);
      return true;
    } catch (cause) {
      throw this.#fail(`cannot be read (${(cause as Error).message})`);
    }
  }

  /** The bytes before `byte`, and that byte, are taken. Undefined where it does not come within `most` bytes. */
  async #until(byte: number, most: number): Promise<Buffer | undefined> {
    for (let from = 0; ; ) {
      const found = this.#at.indexOf(byte, from);
      if (found > most || (found < 0 && this.#at.length > most)) return undefined;
      if (found >= 0) return this.#take(found + 1).subarray(0, found);
      from = this.#at.length;
      if (!(await this.#more())) return undefined;
    }
  }

  #take(bytes: number): Buffer {
    const taken = this.#at.subarray(0, bytes);
    this.#at = this.#at.subarray(bytes);
    return taken;
  }

  async header(): Promise<{ rows: number; dim: number }> {
    const line = (await this.#until(NEWLINE, 64))?.toString("latin1").trim();
    const [, words, numbers] = /^(\d{1,12})[ \t]+(\d{1,6})$/.exec(line ?? "") ?? [];
    const [rows, dim] = [Number(words ?? 0), Number(numbers ?? 0)];
    if (rows < 1 || dim < 1 || dim > MOST_DIM) {
      throw this.#fail(
        'is no file of word vectors: its first line is not "WORDS DIM", as the text and binary formats of word2vec have it',
      );
    }
    // A word takes a letter, a space and its numbers, in text two bytes each.
    const least = rows * (2 + 2 * dim);
    if (least > this.#bytes * (this.#gzip ? MOST_PACKED : 1)) {
      throw this.#fail(
        `says that it has ${rows} vectors of ${dim} numbers, but it is too short for them; is it cut off?`,
      );
    }
    return { rows, dim };
  }

  /** Whether the first record is a line of `dim` decimals. */
  async isText(dim: number): Promise<boolean> {
    const most = LONGEST_WORD + 32 * dim;
    while (this.#at.indexOf(NEWLINE) < 0 && this.#at.length < most && (await this.#more()));
    const end = this.#at.indexOf(NEWLINE);
    const line = this.#at
      .subarray(0, end < 0 ? this.#at.length : end)
      .toString("latin1")
      .trimEnd();
    const fields = line.split(" ");
    return (
      fields.length === dim + 1 &&
      fields.slice(1).every((field) => /^[-+]?[\d.]+(e[-+]?\d+)?$/i.test(field) || /^[-+]?(nan|inf)$/i.test(field))
    );
  }

  async textRecord(into: Float32Array, number: number): Promise<string> {
    const most = LONGEST_WORD + 32 * into.length;
    let line = await this.#until(NEWLINE, most);
    if (line === undefined) {
      if (this.#at.length === 0 || this.#at.length > most) throw this.#cut(number);
      line = this.#take(this.#at.length);
    }
    const fields = line.toString("utf8").trimEnd().split(" ");
    const word = fields.shift()!;
    if (fields.length !== into.length) {
      throw new DataError(
        `expected a word and ${into.length} numbers, found ${fields.length} after ${quoted(word)}`,
        this.#path,
        number + 2,
      );
    }
    for (const [i, field] of fields.entries()) {
      const value = Number(field);
      if (field === "" || !Number.isFinite(value)) {
        throw new DataError(`${quoted(field)} is no number (of the word ${quoted(word)})`, this.#path, number + 2);
      }
      into[i] = value;
    }
    return this.#word(word, number);
  }

  async binaryRecord(into: Float32Array, number: number): Promise<string> {
    const raw = await this.#until(SPACE, LONGEST_WORD);
    if (raw === undefined) throw this.#cut(number);
    // The original ends a record by a line break, gensim does not.
    const word = raw.subarray(raw[0] === NEWLINE ? 1 : 0).toString("utf8");
    const bytes = 4 * into.length;
    while (this.#at.length < bytes) if (!(await this.#more())) throw this.#cut(number);
    const numbers = this.#take(bytes);
    const view = new DataView(numbers.buffer, numbers.byteOffset, bytes);
    for (let i = 0; i < into.length; i++) {
      const value = view.getFloat32(4 * i, true);
      if (!Number.isFinite(value))
        throw this.#fail(`number ${i + 1} of word ${number + 1}, ${quoted(word)}, is ${value}`);
      into[i] = value;
    }
    return this.#word(word, number);
  }

  #word(word: string, number: number): string {
    if (word === "" || /[\s\0]/.test(word))
      throw this.#fail(`word ${number + 1}, ${quoted(word)}, is no word; is the file damaged?`);
    return word;
  }

  #cut(number: number): DataError {
    return this.#fail(`ends, or is damaged, at word ${number + 1}`);
  }

  /** Nothing but white space follows. */
  async expectEnd(rows: number): Promise<void> {
    while (this.#at.length < 3 && (await this.#more()));
    if (this.#at.length > 0 && this.#at.toString("latin1").trim() !== "")
      throw this.#fail(`has more than the ${rows} vectors that it says`);
  }
}
