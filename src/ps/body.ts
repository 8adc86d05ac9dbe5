// Reading and writing the bodies of messages: little endian, every part at a multiple of 8. What a reader meets is
// untrusted: it checks every length against the bytes that are there before anything is allocated.
import { RpcError } from "../net/index.ts";

/** A body cannot be read. The message names the field. */
export function malformed(what: string): RpcError {
  return new RpcError("malformed", what);
}

export const aligned = (bytes: number): number => Math.ceil(bytes / 8) * 8;

/** Reads numbers front to back and claims stretches of bytes, which it gives as offsets into the body. */
export class BodyReader {
  readonly #what: string;
  readonly #view: DataView;
  #at = 0;

  /** @param what names the message in errors */
  constructor(what: string, body: Uint8Array) {
    this.#what = what;
    this.#view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  }

  get at(): number {
    return this.#at;
  }

  u32(field: string): number {
    return this.#view.getUint32(this.#take(field, 4), true);
  }

  u64(field: string): bigint {
    return this.#view.getBigUint64(this.#take(field, 8), true);
  }

  /** A u64 that must be exact as a number. */
  count(field: string): number {
    const value = Number(this.u64(field));
    if (!Number.isSafeInteger(value)) throw this.error(`"${field}" is ${value}, more than can be counted`);
    return value;
  }

  f64(field: string): number {
    return this.#view.getFloat64(this.#take(field, 8), true);
  }

  /** Claims `count` elements of `bytes` each, and the padding behind them; returns where they start. */
  stretch(field: string, count: number, bytes: number): number {
    const start = this.#at;
    const length = aligned(count * bytes);
    const left = this.#view.byteLength - start;
    if (length > left) {
      throw this.error(`"${field}" has ${count} elements of ${bytes} bytes, but only ${left} bytes are left`);
    }
    this.#at += length;
    return start;
  }

  /** @throws RpcError when bytes are left */
  end(): void {
    const left = this.#view.byteLength - this.#at;
    if (left !== 0) throw this.error(`${left} bytes are left behind its end`);
  }

  error(what: string): RpcError {
    return malformed(`${this.#what}: ${what}`);
  }

  #take(field: string, bytes: number): number {
    const start = this.#at;
    if (start + bytes > this.#view.byteLength) {
      throw this.error(`it ends at byte ${this.#view.byteLength}, in the middle of "${field}"`);
    }
    this.#at += bytes;
    return start;
  }
}

/** Collects the parts of a body: small numbers in blocks of its own, large arrays as they lie. */
export class BodyWriter {
  readonly parts: Uint8Array[] = [];

  /** A block of `bytes`, a multiple of 8, that `write` fills. */
  block(bytes: number, write: (view: DataView) => void): void {
    const block = new Uint8Array(bytes);
    write(new DataView(block.buffer));
    this.parts.push(block);
  }

  /** The bytes of an array, without a copy, and padding. */
  array(array: ArrayBufferView): void {
    if (array.byteLength === 0) return;
    this.parts.push(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    const padding = aligned(array.byteLength) - array.byteLength;
    if (padding > 0) this.parts.push(new Uint8Array(padding));
  }
}

/** Parts as one body whose first byte lies at a multiple of 8, as one that came over the network. */
export function joinParts(parts: readonly Uint8Array[]): Uint8Array {
  const body = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.byteLength;
  }
  return body;
}
