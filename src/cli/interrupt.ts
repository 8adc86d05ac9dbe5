// Ctrl-C: the first one asks the work to stop and save, the second one ends the process.
import { ECHO_MS } from "../launch/signals.ts";

/** Exit code of a process that a signal interrupted. */
export const INTERRUPTED = 130;

export interface Interrupt extends Disposable {
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

/** @param onFirst tells the user what happens now */
export function watchInterrupts(onFirst: () => void): Interrupt {
  const controller = new AbortController();
  let first = 0;
  const handle = (): void => {
    if (!controller.signal.aborted) {
      first = performance.now();
      onFirst();
      controller.abort();
    } else if (performance.now() - first > ECHO_MS) {
      process.stderr.write("\naborted\n");
      process.exit(INTERRUPTED);
    }
  };
  process.on("SIGINT", handle).on("SIGTERM", handle);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      process.off("SIGINT", handle).off("SIGTERM", handle);
    },
  };
}
