// Small values under names, which processes leave for each other.
import { RpcError } from "../net/index.ts";

const MAX_BYTES = 2 ** 28;
const MAX_KEYS = 1_000_000;

export class KeyValues {
  readonly #values = new Map<string, Uint8Array>();
  #bytes = 0;

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
    if (bytes > MAX_BYTES || (old === undefined && this.#values.size >= MAX_KEYS)) {
      throw new RpcError(
        "too large",
        `set ${JSON.stringify(key)}: all values together may have ${MAX_BYTES} bytes and ${MAX_KEYS} keys; send large data directly`,
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
