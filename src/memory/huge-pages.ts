// Asks the system for 2 MiB pages: look-ups in large tables spend a third to a half of their time on translating
// addresses of 4 KiB pages. A system that cannot or does not want to is fine too.
import { createRequire } from "node:module";
import type koffi from "koffi";

const MADV_HUGEPAGE = 14;

/** Heaps below do without: loading the means to ask takes longer than small tables could gain. */
export const WORTH_BYTES = 32 * 2 ** 20;

/** Returns whether the system accepted. */
export function adviseHugePages(memory: Uint8Array): boolean {
  if (process.platform !== "linux") return false;
  try {
    const { load } = createRequire(import.meta.url)("koffi") as typeof koffi;
    const madvise = load("libc.so.6").func("int madvise(void *address, size_t bytes, int advice)");
    return madvise(memory, memory.byteLength, MADV_HUGEPAGE) === 0;
  } catch {
    return false;
  }
}
