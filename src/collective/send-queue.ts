// Sends to one peer that have not gone out yet, oldest first. It grows when it must and allocates nothing otherwise.

export class SendQueue {
  #entries = new Float64Array(2 * 16);
  #first = 0;
  #length = 0;

  get empty(): boolean {
    return this.#length === 0;
  }

  /** Address and bytes left of the oldest send. */
  get address(): number {
    return this.#entries[2 * this.#first]!;
  }

  get bytes(): number {
    return this.#entries[2 * this.#first + 1]!;
  }

  push(address: number, bytes: number): void {
    const room = this.#entries.length / 2;
    if (this.#length === room) this.#grow(room);
    const last = (this.#first + this.#length++) % (this.#entries.length / 2);
    this.#entries[2 * last] = address;
    this.#entries[2 * last + 1] = bytes;
  }

  /** `bytes` of the oldest send went out. */
  advance(bytes: number): void {
    const at = 2 * this.#first;
    this.#entries[at] = this.#entries[at]! + bytes;
    this.#entries[at + 1] = this.#entries[at + 1]! - bytes;
    if (this.#entries[at + 1]! > 0) return;
    this.#first = (this.#first + 1) % (this.#entries.length / 2);
    this.#length--;
  }

  #grow(room: number): void {
    const entries = new Float64Array(4 * room);
    const head = this.#entries.subarray(2 * this.#first);
    entries.set(head);
    entries.set(this.#entries.subarray(0, 2 * this.#first), head.length);
    this.#entries = entries;
    this.#first = 0;
  }
}
