// One peer as the relay sees it: moves pieces between its connection and the slots of the window, in both directions.
import type { Socket } from "node:net";
import type { Heap } from "../../memory/index.ts";
import { announce } from "../channels.ts";
import { Control, controlAt, Pair, pairAt, SLOTS, State, slotAt, windowBytes } from "../window.ts";
import { HEADER_BYTES, header, Kind, parseHeader } from "./frames.ts";

export interface PeerOptions {
  readonly heap: Heap;
  readonly window: number;
  readonly size: number;
  /** The rank of this process, and of the peer. */
  readonly rank: number;
  readonly peer: number;
  readonly socket: Socket;
  /** Bytes of the connection that came before this object. */
  readonly first: Buffer;
}

const PING_MS = 1000;
/** A peer that sends nothing, not even a ping, for so long is dead. */
const SILENCE_MS = 5000;
/** How long the peer may take to close after this side did. */
const LINGER_MS = 2000;

export class RelayPeer {
  readonly #options: PeerOptions;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #doorbell: number;
  #heard = performance.now();
  /** The communication thread has not taken what came before, so nothing is read. */
  #held = false;
  #told = false;

  constructor(options: PeerOptions) {
    const { heap, window, size, peer } = options;
    this.#options = options;
    this.#words = heap.i32(window, windowBytes(size) / 4);
    this.#bytes = heap.u8(window, windowBytes(size));
    this.#doorbell = controlAt(peer) / 4 + Control.doorbell;
    // The communication thread must always ring.
    Atomics.store(this.#words, controlAt(peer) / 4 + Control.sleeping, 1);
  }

  /** Resolves when the connection has ended. */
  async run(): Promise<void> {
    const { socket, peer } = this.#options;
    socket.on("error", () => undefined);
    const ping = setInterval(() => this.#beat(), PING_MS);
    const sending = this.#send().catch(() => undefined);
    let reason = "its connection ended without a word";
    try {
      await this.#receive();
    } catch (error) {
      reason = (error as Error).message;
    }
    clearInterval(ping);
    this.#end({ state: State.failed, culprit: peer, reason: `rank ${peer} died: ${reason}` });
    this.#ringSelf(this.#doorbell);
    await sending;
    socket.destroy();
  }

  #beat(): void {
    const { socket } = this.#options;
    if (!this.#held && performance.now() - this.#heard > SILENCE_MS) {
      socket.destroy(new Error(`it said nothing for ${SILENCE_MS / 1000} s`));
    } else if (socket.writable && socket.writableLength === 0) {
      socket.write(header(Kind.ping, 0));
    }
  }

  /** From the slots to the connection, until this rank leaves. */
  async #send(): Promise<void> {
    const { heap, window, size, rank, peer, socket } = this.#options;
    const words = this.#words;
    const pair = pairAt(size, rank, peer);
    const own = controlAt(rank) / 4;
    for (;;) {
      const bell = Atomics.load(words, this.#doorbell);
      const state = Atomics.load(words, own + Control.state);
      const [head, tail] = [Atomics.load(words, pair / 4 + Pair.head), Atomics.load(words, pair / 4 + Pair.tail)];
      if (head !== tail) {
        socket.cork();
        let last = Promise.resolve();
        for (let piece = tail; piece !== head; piece = (piece + 1) | 0) {
          const length = words[pair / 4 + Pair.lengths + (piece & (SLOTS - 1))]!;
          const bytes = heap.u8(window + slotAt(pair, piece), length);
          socket.write(header(Kind.piece, length));
          last = new Promise((resolve, reject) =>
            socket.write(bytes, (error) => (error == null ? resolve() : reject(error))),
          );
        }
        socket.uncork();
        await last;
        Atomics.store(words, pair / 4 + Pair.tail, head);
        this.#ringSelf(own + Control.doorbell);
        continue;
      }
      if (state !== State.running) {
        const culprit = words[own + Control.culprit]!;
        const length = words[own + Control.textBytes]!;
        const text = Buffer.from(this.#bytes.slice(4 * (own + Control.text), 4 * (own + Control.text) + length));
        const said = Buffer.alloc(8);
        said.writeUInt32LE(state, 0);
        said.writeUInt32LE(culprit, 4);
        socket.end(Buffer.concat([header(Kind.notice, 8 + text.length), said, text]));
        setTimeout(() => socket.destroy(), LINGER_MS).unref();
        return;
      }
      if (socket.destroyed) return;
      const waiting = Atomics.waitAsync(words, this.#doorbell, bell);
      if (waiting.async) await waiting.value;
    }
  }

  /** From the connection to the slots, until it ends. */
  async #receive(): Promise<void> {
    const { socket, first } = this.#options;
    const frame = new FrameInProgress();
    await this.#take(first, frame);
    for await (const chunk of socket) {
      this.#heard = performance.now();
      await this.#take(chunk as Buffer, frame);
      this.#heard = performance.now();
    }
  }

  async #take(chunk: Buffer, frame: FrameInProgress): Promise<void> {
    const { heap, window, size, rank, peer } = this.#options;
    const pair = pairAt(size, peer, rank);
    for (let at = 0; at < chunk.length || frame.complete; ) {
      if (!frame.known) {
        at += frame.takeHeader(chunk, at);
        continue;
      }
      if (frame.kind === Kind.piece) {
        if (frame.done === 0) await this.#slotFree(pair);
        const part = Math.min(frame.bytes - frame.done, chunk.length - at);
        const head = Atomics.load(this.#words, pair / 4 + Pair.head);
        heap.u8(window + slotAt(pair, head) + frame.done, part).set(chunk.subarray(at, at + part));
        at += part;
        frame.done += part;
        if (frame.done === frame.bytes) {
          this.#words[pair / 4 + Pair.lengths + (head & (SLOTS - 1))] = frame.bytes;
          Atomics.store(this.#words, pair / 4 + Pair.head, (head + 1) | 0);
          this.#ringSelf(controlAt(rank) / 4 + Control.doorbell);
        }
      } else at += frame.takeBody(chunk, at);
      if (frame.complete) {
        if (frame.kind === Kind.notice) this.#notice(frame.body());
        frame.reset();
      }
    }
  }

  async #slotFree(pair: number): Promise<void> {
    const words = this.#words;
    this.#held = true;
    for (;;) {
      const bell = Atomics.load(words, this.#doorbell);
      const used = (Atomics.load(words, pair / 4 + Pair.head) - Atomics.load(words, pair / 4 + Pair.tail)) | 0;
      if (used < SLOTS) break;
      const waiting = Atomics.waitAsync(words, this.#doorbell, bell);
      if (waiting.async) await waiting.value;
    }
    this.#held = false;
  }

  #notice(body: Buffer): void {
    const [state, culprit] = [body.readUInt32LE(0), body.readUInt32LE(4)];
    if (culprit >= this.#options.size || (state !== State.closed && state !== State.failed)) {
      throw new Error("it sent a notice that makes no sense");
    }
    this.#end({ state, culprit, reason: body.subarray(8).toString() });
  }

  /** Only the first end of a peer counts. */
  #end({ state, culprit, reason }: { state: number; culprit: number; reason: string }): void {
    const { peer, rank } = this.#options;
    if (this.#told) return;
    this.#told = true;
    announce(this.#words, this.#bytes, { rank: peer, state, reason, culprit });
    this.#ringSelf(controlAt(rank) / 4 + Control.doorbell);
  }

  #ringSelf(doorbell: number): void {
    Atomics.add(this.#words, doorbell, 1);
    Atomics.notify(this.#words, doorbell);
  }
}

/** A frame of which a part has come. */
class FrameInProgress {
  kind = 0;
  bytes = 0;
  /** Bytes of the body that have come. */
  done = 0;
  readonly #head = Buffer.alloc(HEADER_BYTES);
  readonly #body = Buffer.alloc(4096);
  #headBytes = 0;

  get known(): boolean {
    return this.#headBytes === HEADER_BYTES;
  }

  get complete(): boolean {
    return this.known && this.done === this.bytes;
  }

  takeHeader(chunk: Buffer, at: number): number {
    const part = Math.min(HEADER_BYTES - this.#headBytes, chunk.length - at);
    chunk.copy(this.#head, this.#headBytes, at, at + part);
    this.#headBytes += part;
    if (this.known) Object.assign(this, parseHeader(this.#head), { done: 0 });
    return part;
  }

  takeBody(chunk: Buffer, at: number): number {
    const part = Math.min(this.bytes - this.done, chunk.length - at);
    chunk.copy(this.#body, this.done, at, at + part);
    this.done += part;
    return part;
  }

  body(): Buffer {
    return this.#body.subarray(0, this.bytes);
  }

  reset(): void {
    this.#headBytes = 0;
    this.done = 0;
    this.bytes = 0;
  }
}
