// Waiting until something holds: whoever changes the state notifies, and all that wait look again.

export class Changes {
  readonly #waiting = new Set<() => void>();

  /** Something has changed. */
  notify(): void {
    for (const look of this.#waiting) look();
  }

  /** Resolves when `holds` gives true, after `milliseconds`, or when the signal is aborted. */
  wait(holds: () => boolean, milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (holds() || milliseconds <= 0 || signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const look = (): void => {
        if (holds()) end();
      };
      const timer = milliseconds === Number.POSITIVE_INFINITY ? undefined : setTimeout(end, milliseconds);
      this.#waiting.add(look);
      signal?.addEventListener("abort", end);
    });
  }
}
