// Memory for large bodies, used again: fresh memory costs more than all the rest of receiving a body, because the system
// must find and clear its pages.

/** Smaller bodies are not worth it. */
const LEAST_BYTES = 1 << 14;
const KEPT_BYTES = 1 << 26;

/** Free buffers by size, which is a power of two. Pages that no body ever reached are not there. */
export class BodyPool {
  readonly #free = new Map<number, ArrayBuffer[]>();
  /** What was taken and not given back: other buffers may hold several bodies. */
  readonly #lent = new WeakSet<ArrayBuffer>();
  #keptBytes = 0;

  /** A body whose contents are arbitrary, or undefined where fresh memory is as good. */
  take(length: number): Uint8Array | undefined {
    if (length < LEAST_BYTES) return undefined;
    const size = 2 ** Math.ceil(Math.log2(length));
    if (size > KEPT_BYTES) return undefined;
    const kept = this.#free.get(size)?.pop();
    if (kept !== undefined) this.#keptBytes -= size;
    const buffer = kept ?? new ArrayBuffer(size);
    this.#lent.add(buffer);
    return new Uint8Array(buffer, 0, length);
  }

  /** Takes back a body that came from here; ignores others, and what it has already. Nobody may use it afterwards. */
  give({ buffer }: Uint8Array): void {
    const size = buffer.byteLength;
    if (!(buffer instanceof ArrayBuffer) || !this.#lent.delete(buffer)) return;
    if (this.#keptBytes + size > KEPT_BYTES) return;
    this.#keptBytes += size;
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [buffer]);
    else free.push(buffer);
  }
}
