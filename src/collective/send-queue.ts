// Sends to one peer that have not gone out yet, oldest first. It grows when it must and allocates nothing otherwise.

export class SendQueue {
  #entries = new Float64Array(2 * 16);
  #first = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Where the i-th oldest send goes on, and the bytes left of it. */
  address(i: number): number {
    return this.#entries[this.#at(i)]!;
  }

  bytes(i: number): number {
    return this.#entries[this.#at(i) + 1]!;
  }

  push(address: number, bytes: number): void {
    if (this.#length === this.#entries.length / 2) this.#grow();
    const at = this.#at(this.#length++);
    this.#entries[at] = address;
    this.#entries[at + 1] = bytes;
  }

  /** `bytes` of the oldest sends went out. */
  advance(bytes: number): void {
    for (let left = bytes; left > 0; ) {
      const at = this.#at(0);
      const part = Math.min(left, this.#entries[at + 1]!);
      this.#entries[at] = this.#entries[at]! + part;
      this.#entries[at + 1] = this.#entries[at + 1]! - part;
      left -= part;
      if (this.#entries[at + 1]! > 0) return;
      this.#first = (this.#first + 1) % (this.#entries.length / 2);
      this.#length--;
    }
  }

  #at(i: number): number {
    return 2 * ((this.#first + i) % (this.#entries.length / 2));
  }

  #grow(): void {
    const entries = new Float64Array(2 * this.#entries.length);
    const front = this.#entries.subarray(2 * this.#first);
    entries.set(front);
    entries.set(this.#entries.subarray(0, 2 * this.#first), front.length);
    this.#entries = entries;
    this.#first = 0;
  }
}
