// Threads that carry messages go before threads that compute. What they do is short, and all ranks wait for it: on cores that
// trainers keep busy, a message that is there would lie for some milliseconds.
import { setPriority } from "node:os";

/** As a nice value. */
const FIRST = -10;

/** Lets the calling thread go first, where the system allows it: root, CAP_SYS_NICE, or a limit of nice values that low. */
export function goFirst(): void {
  // Elsewhere this is said of the whole process.
  if (process.platform !== "linux") return;
  try {
    setPriority(FIRST);
  } catch {
    // Without the permission all threads are alike.
  }
}
