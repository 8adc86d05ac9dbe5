// Ctrl-C and the signals that ask this process to end.

/** npm and terminals pass on a signal that came already: those of so short a time count as one. */
export const ECHO_MS = 200;

/** Calls back for each until disposed. */
export function onInterrupt(act: (signal: "SIGINT" | "SIGTERM") => void): Disposable {
  let last = Number.NEGATIVE_INFINITY;
  const handle = (signal: NodeJS.Signals): void => {
    const now = performance.now();
    if (now - last < ECHO_MS) return;
    last = now;
    act(signal === "SIGINT" ? "SIGINT" : "SIGTERM");
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, handle);
  return {
    [Symbol.dispose]: () => {
      for (const signal of signals) process.off(signal, handle);
    },
  };
}
