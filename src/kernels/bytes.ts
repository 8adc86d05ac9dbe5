// A growing byte buffer with the number formats of WebAssembly binaries.

export class Bytes {
  #buffer = new Uint8Array(128);
  #length = 0;

  /** What has been written, as a view. */
  get written(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#length);
  }

  byte(value: number): void {
    if (this.#length === this.#buffer.length) this.#grow(1);
    this.#buffer[this.#length++] = value;
  }

  append(bytes: Uint8Array): void {
    this.#grow(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** An unsigned LEB128 number below 2^32. */
  unsigned(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest = rest >>> 7;
    }
    this.byte(rest);
  }

  /** A signed LEB128 number, a safe integer. */
  signed(value: number): void {
    let rest = value;
    while (rest < -0x40 || rest > 0x3f) {
      const higher = Math.floor(rest / 0x80);
      this.byte((rest - 0x80 * higher) | 0x80);
      rest = higher;
    }
    this.byte(rest & 0x7f);
  }

  /** Four little-endian bytes. */
  word(value: number): void {
    for (let shift = 0; shift < 32; shift += 8) this.byte((value >>> shift) & 0xff);
  }

  /** Bytes behind their number. */
  sized(bytes: Uint8Array): void {
    this.unsigned(bytes.length);
    this.append(bytes);
  }

  text(value: string): void {
    this.sized(new TextEncoder().encode(value));
  }

  #grow(by: number): void {
    if (this.#length + by <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#buffer.length, this.#length + by));
    larger.set(this.#buffer);
    this.#buffer = larger;
  }
}
