// Frames: what travels over a connection. A header of 40 bytes, little endian, a body, zeros up to a multiple of 8.
//
//   0 u32 magic "FLOT"        8 u64 sequence          24 u32 bytes of the body
//   4 u8  version            16 u32 milliseconds left  28 u32 CRC-32 of the body
//   5 u8  kind               20 u32 settled            32 u32 zero
//   6 u16 method                                       36 u32 CRC-32 of the header up to here
//
// The header has a checksum of its own, so that no byte is awaited or allocated on the word of a damaged length.
import { crc32 } from "node:zlib";
import { ConnectionError } from "./error.ts";

export const HEADER_BYTES = 40;
const CHECKED_BYTES = 36;
export const FRAME_VERSION = 1;
/** "FLOT" as a little-endian number. */
const MAGIC = 0x544f4c46;
const MAX_U32 = 0xffffffff;
const U32 = 2 ** 32;

export const kinds = {
  /** First frame of a client: who it is. */
  hello: 1,
  /** First frame of a server: its methods. */
  welcome: 2,
  call: 3,
  reply: 4,
  /** Instead of a reply: JSON of code and message. */
  error: 5,
  /** The caller no longer waits. */
  cancel: 6,
  ping: 7,
  /** The last frame, with the reason as text. */
  goodbye: 8,
} as const;

export type Kind = (typeof kinds)[keyof typeof kinds];
const LAST_KIND = kinds.goodbye;

/** What a header says beside its body. Zero where the kind has no use for a field. */
export interface FrameFields {
  readonly kind: Kind;
  /** The number of the method, as the server's welcome counts them. */
  readonly method: number;
  readonly sequence: number;
  /** How long the caller still waits. */
  readonly milliseconds: number;
  /** All calls with numbers so far below `sequence` have their reply: `sequence - settled` is the oldest without. */
  readonly settled: number;
}

/** Writes a header. `bodyLength` and `bodyCrc` are of the body that follows. */
export function writeHeader(into: Buffer, at: number, fields: FrameFields, bodyLength: number, bodyCrc: number): void {
  into.writeUInt32LE(MAGIC, at);
  into[at + 4] = FRAME_VERSION;
  into[at + 5] = fields.kind;
  into.writeUInt16LE(fields.method, at + 6);
  into.writeUInt32LE(fields.sequence % U32, at + 8);
  into.writeUInt32LE(Math.floor(fields.sequence / U32), at + 12);
  into.writeUInt32LE(Math.min(MAX_U32, Math.max(0, Math.ceil(fields.milliseconds))), at + 16);
  into.writeUInt32LE(Math.min(MAX_U32, fields.settled), at + 20);
  into.writeUInt32LE(bodyLength, at + 24);
  into.writeUInt32LE(bodyCrc, at + 28);
  into.writeUInt32LE(0, at + 32);
  into.writeUInt32LE(crc32(into.subarray(at, at + CHECKED_BYTES)), at + CHECKED_BYTES);
}

/** How many zeros follow a body. */
export const paddingOf = (length: number): number => -length & 7;

/** A received frame. The object is used again for the next one; the body is the receiver's. */
export interface Frame extends FrameFields {
  readonly body: Uint8Array;
}

export interface DecoderOptions {
  readonly maxFrameBytes: number;
  readonly onFrame: (frame: Frame) => void;
  /** Whether a body of that many bytes may be allocated now. If not, the decoder pauses until `resume`. */
  readonly admit?: (bytes: number) => boolean;
  /** Where the body of a frame is to lie; undefined: in memory of its own. */
  readonly place?: (frame: FrameFields, bytes: number) => Uint8Array | undefined;
}

const POOL_BYTES = 1 << 16;
const POOLED_BYTES = 1 << 13;
const empty = new Uint8Array(0);

/** Not cleared: bodies are written over all of what they take. */
const newPool = (): ArrayBuffer => Buffer.allocUnsafeSlow(POOL_BYTES).buffer;

/**
 * Turns a stream of bytes into frames. Holds at most one header and one body. Bodies are copied to where they start at a
 * multiple of 8, small ones into pools.
 */
export class FrameDecoder {
  readonly #options: DecoderOptions;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  readonly #frame = {
    kind: kinds.ping as Kind,
    method: 0,
    sequence: 0,
    milliseconds: 0,
    settled: 0,
    body: empty as Uint8Array,
  };
  #maxFrameBytes: number;
  #headerFilled = 0;
  #length = 0;
  #crc = 0;
  #bodyFilled = 0;
  #paddingLeft = 0;
  /** Undefined between frames and while a body waits to be admitted. */
  #body: Uint8Array | undefined;
  #paused = false;
  #rest: Buffer[] = [];
  #pool = newPool();
  #pooled = 0;

  constructor(options: DecoderOptions) {
    this.#options = options;
    this.#maxFrameBytes = options.maxFrameBytes;
  }

  /** Raised once a peer has said who it is. */
  set maxFrameBytes(bytes: number) {
    this.#maxFrameBytes = bytes;
  }

  /** Whether a frame has begun and is not complete. */
  get partial(): boolean {
    return this.#headerFilled > 0;
  }

  /** How much of its body has come. */
  get partialBytes(): number {
    return this.#bodyFilled;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** If the body of the frame of that number is arriving, the rest of it is written elsewhere. */
  divert(sequence: number): void {
    if (this.#body === undefined || this.#frame.sequence !== sequence) return;
    this.#body = new Uint8Array(this.#length);
  }

  /** Gives no frames until `resume`; bytes that come meanwhile are kept. May be called by `onFrame`. */
  pause(): void {
    this.#paused = true;
  }

  /** @throws ConnectionError as `push` */
  resume(): void {
    this.#paused = false;
    while (this.#rest.length > 0 && !this.#paused) this.push(this.#rest.shift()!, true);
  }

  /**
   * @param chunk may be overwritten afterwards
   * @throws ConnectionError for bytes that are no frames; the decoder is of no use afterwards
   */
  push(chunk: Buffer, again = false): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#paused) break;
      if (this.#headerFilled < HEADER_BYTES) {
        const taken = Math.min(HEADER_BYTES - this.#headerFilled, chunk.length - at);
        chunk.copy(this.#header, this.#headerFilled, at, at + taken);
        this.#headerFilled += taken;
        at += taken;
        if (this.#headerFilled < HEADER_BYTES) return;
        this.#readHeader();
      }
      if (this.#body === undefined) {
        if (this.#length > 0 && this.#options.admit?.(this.#length) === false) {
          this.#paused = true;
          break;
        }
        this.#body = this.#options.place?.(this.#frame, this.#length) ?? this.#allocate(this.#length);
      }
      at += this.#fill(chunk, at);
      if (this.#bodyFilled < this.#length) break;
      at += this.#skipPadding(chunk, at);
      if (this.#paddingLeft === 0) this.#finish();
    }
    if (at >= chunk.length) return;
    const rest = chunk.subarray(at);
    if (again) this.#rest.unshift(rest);
    else this.#rest.push(Buffer.from(rest));
  }

  #readHeader(): void {
    const header = this.#header;
    if (header.readUInt32LE(0) !== MAGIC) throw new ConnectionError("sent bytes that are no frame of flotilla");
    const version = header[4]!;
    if (version !== FRAME_VERSION) {
      throw new ConnectionError(
        `speaks version ${version} of the frames, this process version ${FRAME_VERSION}; run the same flotilla on both sides`,
      );
    }
    if (header.readUInt32LE(CHECKED_BYTES) !== crc32(header.subarray(0, CHECKED_BYTES))) {
      throw new ConnectionError("sent a frame whose header does not match its checksum");
    }
    const kind = header[5]!;
    if (kind < 1 || kind > LAST_KIND) throw new ConnectionError(`sent a frame of the unknown kind ${kind}`);
    const sequence = header.readUInt32LE(8) + header.readUInt32LE(12) * U32;
    if (!Number.isSafeInteger(sequence)) throw new ConnectionError("sent a sequence number above 2^53");
    const length = header.readUInt32LE(24);
    if (length > this.#maxFrameBytes) {
      throw new ConnectionError(`sent a frame of ${length} bytes where ${this.#maxFrameBytes} are allowed`);
    }
    const frame = this.#frame;
    frame.kind = kind as Kind;
    frame.method = header.readUInt16LE(6);
    frame.sequence = sequence;
    frame.milliseconds = header.readUInt32LE(16);
    frame.settled = header.readUInt32LE(20);
    this.#length = length;
    this.#bodyFilled = 0;
    this.#paddingLeft = paddingOf(length);
    this.#crc = 0;
  }

  #fill(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#length - this.#bodyFilled, chunk.length - at);
    if (taken === 0) return 0;
    chunk.copy(this.#body!, this.#bodyFilled, at, at + taken);
    this.#crc = crc32(chunk.subarray(at, at + taken), this.#crc);
    this.#bodyFilled += taken;
    return taken;
  }

  #skipPadding(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#paddingLeft, chunk.length - at);
    for (let i = at; i < at + taken; i++) {
      if (chunk[i] !== 0) throw new ConnectionError("sent a frame that is not followed by zeros");
    }
    this.#paddingLeft -= taken;
    return taken;
  }

  #finish(): void {
    if (this.#crc !== this.#header.readUInt32LE(28)) {
      throw new ConnectionError("sent a frame whose body does not match its checksum");
    }
    this.#headerFilled = 0;
    const frame = this.#frame;
    frame.body = this.#body!;
    this.#body = undefined;
    this.#options.onFrame(frame);
    frame.body = empty;
  }

  #allocate(length: number): Uint8Array {
    if (length === 0) return empty;
    if (length > POOLED_BYTES) return new Uint8Array(length);
    if (this.#pooled + length > POOL_BYTES) {
      this.#pool = newPool();
      this.#pooled = 0;
    }
    const body = new Uint8Array(this.#pool, this.#pooled, length);
    this.#pooled = (this.#pooled + length + 7) & ~7;
    return body;
  }
}
