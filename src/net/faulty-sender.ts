// Sends frames as a source of faults wants it: some late, some not at all, some with the end of the connection.
import type { FaultSource } from "./faults.ts";
import type { FrameFields } from "./frame.ts";

interface Late {
  readonly due: number;
  readonly fields: FrameFields;
  readonly parts: readonly Uint8Array[];
}

export interface Outgoing {
  readonly write: (fields: FrameFields, parts: readonly Uint8Array[]) => void;
  /** Ends the connection; `cut`: in the middle of a frame. */
  readonly breakOff: (cut: boolean) => void;
}

export class FaultySender {
  readonly #faults: FaultSource;
  readonly #outgoing: Outgoing;
  /** In the order in which they go out. */
  readonly #late: Late[] = [];
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(faults: FaultSource, outgoing: Outgoing) {
    this.#faults = faults;
    this.#outgoing = outgoing;
  }

  send(fields: FrameFields, parts: readonly Uint8Array[]): void {
    const wait = this.#faults.delay();
    if (wait === 0 && this.#late.length === 0) {
      this.#sendNow(fields, parts);
      return;
    }
    const due = Math.max(performance.now() + wait, this.#late.at(-1)?.due ?? 0);
    this.#late.push({ due, fields, parts });
    this.#timer ??= setTimeout(() => this.#sendDue(), wait);
  }

  /** Late frames are not sent any more. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #sendDue(): void {
    this.#timer = undefined;
    while (!this.#stopped && this.#late.length > 0 && this.#late[0]!.due <= performance.now()) {
      const { fields, parts } = this.#late.shift()!;
      this.#sendNow(fields, parts);
    }
    const first = this.#late[0];
    if (first === undefined || this.#stopped) return;
    this.#timer = setTimeout(() => this.#sendDue(), Math.max(1, first.due - performance.now()));
  }

  #sendNow(fields: FrameFields, parts: readonly Uint8Array[]): void {
    const fault = this.#faults.next();
    if (fault === "none") this.#outgoing.write(fields, parts);
    else if (fault !== "drop") this.#outgoing.breakOff(fault === "cut");
  }
}
