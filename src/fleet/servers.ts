// The parameter servers of a job as a worker knows them.
import type { KeysOption } from "../net/index.ts";
import { Workers, type WorkersOptions } from "./workers.ts";

/** How long one call to a server may take, restarts included: PaddlePaddle's. */
const DEADLINE_MS = 180_000;

export interface ServersOptions extends WorkersOptions {
  /** Of each partition, the same order in all workers. */
  readonly addresses: readonly string[];
  readonly keys?: KeysOption | undefined;
}

export class Servers extends Workers {
  readonly addresses: readonly string[];
  readonly keys: KeysOption | undefined;
  readonly deadlineMs: number = DEADLINE_MS;

  constructor({ addresses, keys, ...options }: ServersOptions) {
    super(options);
    this.addresses = addresses;
    this.keys = keys;
  }
}
