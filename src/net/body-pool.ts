// Memory for large bodies, used again: fresh memory costs more than all the rest of receiving a body, because the system
// must find and clear its pages.

/** Smaller bodies are not worth it. */
const LEAST_BYTES = 1 << 14;
const KEPT_BYTES = 1 << 26;

/** Free buffers by size, which is a power of two. Pages that no body ever reached are not there. */
export class BodyPool {
  readonly #free = new Map<number, ArrayBuffer[]>();
  #keptBytes = 0;

  /** A body whose contents are arbitrary, or undefined where fresh memory is as good. */
  take(length: number): Uint8Array | undefined {
    if (length < LEAST_BYTES) return undefined;
    const size = 2 ** Math.ceil(Math.log2(length));
    const buffer = this.#free.get(size)?.pop();
    if (buffer === undefined) return size > KEPT_BYTES ? undefined : new Uint8Array(new ArrayBuffer(size), 0, length);
    this.#keptBytes -= size;
    return new Uint8Array(buffer, 0, length);
  }

  /** Takes back a body that came from here; ignores others. Nobody may use it afterwards. */
  give({ buffer }: Uint8Array): void {
    const size = buffer.byteLength;
    if (size < LEAST_BYTES || (size & (size - 1)) !== 0 || this.#keptBytes + size > KEPT_BYTES) return;
    if (!(buffer instanceof ArrayBuffer)) return;
    this.#keptBytes += size;
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [buffer]);
    else free.push(buffer);
  }
}
