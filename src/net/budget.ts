// How many bytes of received bodies a server holds at once, over all connections.

/** Bytes are taken before a body is allocated and given back when its call has been answered. */
export class Budget {
  readonly #limit: number;
  #taken = 0;
  #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** False when they must wait. A body larger than the whole budget comes alone. */
  take(bytes: number): boolean {
    if (this.#taken > 0 && this.#taken + bytes > this.#limit) return false;
    this.#taken += bytes;
    return true;
  }

  /** Calls back once, later, when bytes have been given back. */
  whenFreed(callback: () => void): void {
    this.#waiting.push(callback);
  }

  give(bytes: number): void {
    if (bytes === 0) return;
    this.#taken -= bytes;
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const callback of waiting) setImmediate(callback);
  }
}
