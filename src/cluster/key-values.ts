// Small values under names, which processes leave for each other.
import { RpcError } from "../net/index.ts";

export interface KeyValueLimits {
  /** Of all values together. Default 256 MiB. */
  readonly maxBytes?: number;
  /** Default a million. */
  readonly maxKeys?: number;
}

export class KeyValues {
  readonly #values = new Map<string, Uint8Array>();
  readonly #maxBytes: number;
  readonly #maxKeys: number;
  #bytes = 0;

  constructor({ maxBytes = 2 ** 28, maxKeys = 1_000_000 }: KeyValueLimits = {}) {
    this.#maxBytes = maxBytes;
    this.#maxKeys = maxKeys;
  }

  get(key: string): Uint8Array | undefined {
    return this.#values.get(key);
  }

  /**
   * @param value is copied
   * @returns false when `ifAbsent` found a value
   * @throws RpcError `too large` when all values together would be
   */
  set(key: string, value: Uint8Array, ifAbsent: boolean): boolean {
    const old = this.#values.get(key);
    if (ifAbsent && old !== undefined) return false;
    const bytes = this.#bytes + value.byteLength - (old?.byteLength ?? 0);
    if (bytes > this.#maxBytes || (old === undefined && this.#values.size >= this.#maxKeys)) {
      throw new RpcError(
        "too large",
        `set ${JSON.stringify(key)}: all values together may have ${this.#maxBytes} bytes and ${this.#maxKeys} keys; send large data directly`,
      );
    }
    this.#bytes = bytes;
    this.#values.set(key, value.slice());
    return true;
  }

  delete(key: string): void {
    this.#bytes -= this.#values.get(key)?.byteLength ?? 0;
    this.#values.delete(key);
  }
}
