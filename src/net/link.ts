// A connection that carries frames: batches small ones, writes large bodies without a copy, shows that it lives and
// notices when the peer no longer does.
import type { Socket } from "node:net";
import { crc32 } from "node:zlib";
import { ConnectionError, isIdentityError } from "./error.ts";
import type { FaultSource } from "./faults.ts";
import { FaultySender } from "./faulty-sender.ts";
import { type Frame, FrameDecoder, type FrameFields, HEADER_BYTES, kinds, paddingOf, writeHeader } from "./frame.ts";

export interface LinkSettings {
  readonly maxFrameBytes: number;
  readonly silenceMs: number;
  readonly faults: FaultSource | undefined;
  /** Names the peer in errors. */
  readonly peer: () => string;
  readonly onFrame: (frame: Frame) => void;
  readonly admit?: (bytes: number) => boolean;
  readonly place?: (frame: FrameFields, bytes: number) => Uint8Array | undefined;
  /** What was written has gone to the system, after `congested` was true. */
  readonly onDrain: () => void;
  /** Once. Without an error: the peer ended it in order, or this side did. */
  readonly onClose: (error: ConnectionError | undefined) => void;
}

/** Bodies up to here are copied behind their header, to go to the system in one piece with their neighbours. */
const COPIED_BYTES = 1 << 13;
const BATCH_BYTES = 1 << 16;
const SPARE_BATCHES = 4;
/** So much may wait for the system before no more frames are written: enough to keep a socket busy while this side wakes up. */
const CONGESTED_BYTES = 1 << 20;
/** A frame that takes longer than this must come at the least rate: its body holds memory. */
const SLOW_MS = 60_000;
const SLOWEST_BYTES_PER_MS = 10;

const zeros = Buffer.alloc(8);

export class Link {
  readonly #socket: Socket;
  readonly #settings: LinkSettings;
  readonly #decoder: FrameDecoder;
  #batch = Buffer.allocUnsafeSlow(BATCH_BYTES);
  /** Full batches that the system may still read from, and free ones. */
  readonly #retired: Buffer<ArrayBuffer>[] = [];
  readonly #spare: Buffer<ArrayBuffer>[] = [];
  /** The batch holds what goes with the next write from `#from` to `#fill`. */
  #from = 0;
  #fill = 0;
  #flushing = false;
  #sent = false;
  #silentMs = 0;
  /** For how long the same frame may have been arriving. */
  #partialMs = 0;
  #closed = false;
  #goodbye: string | undefined;
  readonly #faulty: FaultySender | undefined;
  bytesSent = 0;
  bytesReceived = 0;

  constructor(socket: Socket, settings: LinkSettings) {
    this.#socket = socket;
    this.#settings = settings;
    this.#decoder = new FrameDecoder({
      maxFrameBytes: settings.maxFrameBytes,
      onFrame: (frame) => this.#receive(frame),
      ...(settings.admit !== undefined && { admit: settings.admit }),
      ...(settings.place !== undefined && { place: settings.place }),
    });
    if (settings.faults !== undefined) {
      this.#faulty = new FaultySender(settings.faults, {
        write: (fields, parts) => this.#write(fields, parts),
        breakOff: (cut) => this.#breakOff(cut),
      });
    }
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("drain", () => this.#settings.onDrain());
    socket.on("end", () => this.#ended());
    socket.on("error", (cause: NodeJS.ErrnoException) => this.destroy(this.#broken(cause)));
    socket.on("close", () => this.destroy());
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether more is written than the system takes at once: hold the next frames back until `onDrain`. */
  get congested(): boolean {
    return this.#socket.writableNeedDrain && this.#socket.writableLength > CONGESTED_BYTES;
  }

  /** Why the peer said that it would end the connection, if it did. */
  get goodbye(): string | undefined {
    return this.#goodbye;
  }

  set maxFrameBytes(bytes: number) {
    this.#decoder.maxFrameBytes = bytes;
  }

  /** Writes no more of the reply of that number to where it was to lie. */
  divert(sequence: number): void {
    this.#decoder.divert(sequence);
  }

  /** Whether the connection keeps the process alive. */
  hold(alive: boolean): void {
    if (alive) this.#socket.ref();
    else this.#socket.unref();
  }

  /** Takes no more frames and reads no more bytes until `resume`. */
  pause(): void {
    this.#decoder.pause();
    this.#socket.pause();
  }

  get paused(): boolean {
    return this.#decoder.paused;
  }

  resume(): void {
    if (this.#closed) return;
    this.#silentMs = 0;
    this.#guard(() => this.#decoder.resume());
    if (!this.#decoder.paused) this.#socket.resume();
  }

  /**
   * Sends a frame whose body is `parts` one after the other. They must stay as they are until they are sent.
   * @param sent called when the system has taken them all, or the connection has ended
   */
  send(fields: FrameFields, parts: readonly Uint8Array[], sent?: () => void): void {
    const faulty = fields.kind < kinds.call || fields.kind > kinds.cancel ? undefined : this.#faulty;
    if (this.#closed) sent?.();
    else if (faulty === undefined) this.#write(fields, parts, sent);
    else faulty.send(fields, parts);
  }

  /** Called at an interval: a ping when nothing else went out; the end when the peer was silent for too long. */
  tick(milliseconds: number): void {
    if (this.#closed) return;
    if (!this.#sent && !this.congested) this.#write({ ...none, kind: kinds.ping }, []);
    this.#sent = false;
    if (this.paused) return;
    // Ticks are counted, not the clock: a process that stood still must first read what came meanwhile.
    this.#silentMs += milliseconds;
    if (this.#silentMs > this.#settings.silenceMs) {
      this.destroy(this.#error(`was silent for ${this.#settings.silenceMs / 1000} s and is given up`));
      return;
    }
    this.#partialMs = this.#decoder.partial ? this.#partialMs + milliseconds : 0;
    if (this.#partialMs > SLOW_MS && this.#decoder.partialBytes < this.#partialMs * SLOWEST_BYTES_PER_MS) {
      this.destroy(this.#error("sends a frame so slowly that it is given up"));
    }
  }

  /** Ends the connection in order, after all that was sent, and tells the peer why. */
  end(reason: string, error?: ConnectionError): void {
    if (this.#closed) return;
    this.#write({ ...none, kind: kinds.goodbye }, [Buffer.from(reason.slice(0, 1000))]);
    this.#flush();
    this.#socket.end();
    this.#close(error);
    // What still comes is not looked at, but the peer's end is.
    this.#socket.resume();
    // Who never reads what was sent does not hold the socket.
    setTimeout(() => this.#socket.destroy(), 1000).unref();
  }

  destroy(error?: ConnectionError): void {
    if (this.#closed) return;
    this.#close(error);
    this.#socket.destroy();
  }

  #close(error: ConnectionError | undefined): void {
    this.#closed = true;
    this.#faulty?.stop();
    this.#settings.onClose(error);
  }

  #error(what: string, cause?: unknown): ConnectionError {
    return new ConnectionError(`${this.#settings.peer()} ${what}`, { cause, temporary: true });
  }

  #broken(cause: NodeJS.ErrnoException): ConnectionError {
    const peer = this.#settings.peer();
    if (!isIdentityError(cause)) return this.#error(`broke the connection: ${cause.code ?? cause.message}`, cause);
    return new ConnectionError(`${peer} refused the connection, or its certificate: ${cause.message}`, { cause });
  }

  #ended(): void {
    if (this.#decoder.partial) this.destroy(this.#error("ended the connection in the middle of a frame"));
    else this.destroy(this.#goodbye === undefined ? undefined : this.#error(`ended the connection: ${this.#goodbye}`));
  }

  #read(chunk: Buffer): void {
    if (this.#closed) return;
    this.#silentMs = 0;
    this.bytesReceived += chunk.length;
    // What is sent while frames are read goes out with them.
    const scheduled = this.#flushing;
    this.#flushing = true;
    this.#guard(() => this.#decoder.push(chunk));
    if (!scheduled) this.#flush();
    if (this.#decoder.paused && !this.#closed) this.#socket.pause();
  }

  #guard(decode: () => void): void {
    try {
      decode();
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      this.end(error.message, new ConnectionError(`${this.#settings.peer()} ${error.message}`, { cause: error }));
    }
  }

  #receive(frame: Frame): void {
    this.#partialMs = 0;
    if (this.#closed || frame.kind === kinds.ping) return;
    if (frame.kind === kinds.goodbye) this.#goodbye = Buffer.from(frame.body).toString();
    else this.#settings.onFrame(frame);
  }

  #write(fields: FrameFields, parts: readonly Uint8Array[], sent?: () => void): void {
    this.#sent = true;
    let length = 0;
    let crc = 0;
    for (const part of parts) {
      length += part.byteLength;
      crc = crc32(part, crc);
    }
    const padding = paddingOf(length);
    this.bytesSent += HEADER_BYTES + length + padding;
    const copied = length <= COPIED_BYTES;
    this.#reserve(HEADER_BYTES + (copied ? length + padding : 0));
    writeHeader(this.#batch, this.#fill, fields, length, crc);
    this.#fill += HEADER_BYTES;
    if (copied) {
      for (const part of parts) {
        this.#batch.set(part, this.#fill);
        this.#fill += part.byteLength;
      }
      this.#batch.fill(0, this.#fill, this.#fill + padding);
      this.#fill += padding;
      sent?.();
      if (this.#flushing) return;
      this.#flushing = true;
      process.nextTick(() => this.#flush());
      return;
    }
    this.#socket.cork();
    this.#writeBatch();
    for (const part of parts) if (part.byteLength > 0) this.#socket.write(part);
    this.#socket.write(zeros.subarray(0, padding), sent);
    this.#socket.uncork();
    this.#reuse();
  }

  #reserve(bytes: number): void {
    if (this.#fill + bytes <= BATCH_BYTES) return;
    this.#writeBatch();
    this.#reuse();
    if (this.#fill + bytes <= BATCH_BYTES) return;
    this.#retired.push(this.#batch);
    this.#batch = this.#spare.pop() ?? Buffer.allocUnsafeSlow(BATCH_BYTES);
    this.#from = 0;
    this.#fill = 0;
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#socket.destroyed) return;
    this.#writeBatch();
    this.#reuse();
  }

  #writeBatch(): void {
    if (this.#fill > this.#from) this.#socket.write(this.#batch.subarray(this.#from, this.#fill));
    this.#from = this.#fill;
  }

  /** Where the system has taken everything at once, nothing refers to the batch any more. */
  #reuse(): void {
    if (this.#socket.writableLength > 0) return;
    this.#from = 0;
    this.#fill = 0;
    while (this.#retired.length > 0 && this.#spare.length < SPARE_BATCHES) this.#spare.push(this.#retired.pop()!);
    this.#retired.length = 0;
  }

  /** A fault on purpose: the connection breaks, maybe in the middle of a frame. */
  #breakOff(cut: boolean): void {
    this.#flush();
    if (cut) this.#socket.write(Buffer.from("FLOT\x01"));
    this.destroy(this.#error("was disconnected by a fault on purpose"));
  }
}

/** Fields of frames that need none. */
export const none: Omit<FrameFields, "kind"> = { method: 0, sequence: 0, milliseconds: 0, settled: 0 };
