// How threads of one process sleep and wake each other on words of their memory.
import type { Signal } from "./channels.ts";
import { libc } from "./sockets/libc.ts";

export function atomicSignal(words: Int32Array): Signal {
  return {
    wait: (index, value, ms) => void Atomics.wait(words, index, value, ms),
    notify: (index) => void Atomics.notify(words, index),
    yield: process.platform === "linux" ? libc().yield : () => undefined,
  };
}
