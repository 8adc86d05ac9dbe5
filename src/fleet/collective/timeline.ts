// What a rank does when: totals of communication always, and single events where a trace is asked for. In the heap: the trainer
// thread writes, the main thread reads when training is over.
import type { Heap } from "../../memory/index.ts";

/** What an event tells of; its number says which group of instructions, which collective, or which step. */
export const Kind = { compute: 0, update: 1, wait: 2, wire: 3, step: 4 } as const;

export interface TimelineEvent {
  readonly kind: number;
  readonly index: number;
  /** Milliseconds since 1970. */
  readonly start: number;
  readonly end: number;
}

export interface Totals {
  /** What collectives took, in milliseconds, and how long the trainer thread waited for them. */
  readonly wire: number;
  readonly wait: number;
  /** Bytes of gradients that this rank has sent. */
  readonly sent: number;
}

const H = { events: 0, wire: 1, wait: 2, tracing: 3, sent: 4 } as const;
const HEADER = 8;
const NUMBERS = 4;
/** As many as a person looks at: some dozens of steps. */
const MOST_EVENTS = 1 << 15;

/** A clock that all threads of a machine have in common; that of the event loop begins anew in each. */
export const clock = (): number => performance.timeOrigin + performance.now();

export class Timeline {
  readonly address: number;
  readonly #numbers: Float64Array;

  constructor(heap: Heap, address: number) {
    this.address = address;
    this.#numbers = heap.f64(address, HEADER + NUMBERS * MOST_EVENTS);
  }

  static create(heap: Heap): Timeline {
    return new Timeline(heap, heap.alloc(8 * (HEADER + NUMBERS * MOST_EVENTS)));
  }

  /** Forgets everything. */
  begin(tracing: boolean): void {
    this.#numbers.fill(0, 0, HEADER);
    this.#numbers[H.tracing] = tracing ? 1 : 0;
  }

  /** Whether events are kept, and there is room for more of them. */
  get tracing(): boolean {
    return this.#numbers[H.tracing] === 1 && this.#numbers[H.events]! < MOST_EVENTS;
  }

  get totals(): Totals {
    return { wire: this.#numbers[H.wire]!, wait: this.#numbers[H.wait]!, sent: this.#numbers[H.sent]! };
  }

  addSent(bytes: number): void {
    this.#numbers[H.sent]! += bytes;
  }

  add(kind: number, index: number, start: number, end: number): void {
    if (kind === Kind.wire) this.#numbers[H.wire]! += end - start;
    if (kind === Kind.wait) this.#numbers[H.wait]! += end - start;
    if (!this.tracing) return;
    const at = HEADER + NUMBERS * this.#numbers[H.events]!++;
    this.#numbers[at] = kind;
    this.#numbers[at + 1] = index;
    this.#numbers[at + 2] = start;
    this.#numbers[at + 3] = end;
  }

  events(): TimelineEvent[] {
    return Array.from({ length: this.#numbers[H.events]! }, (_, i) => {
      const at = HEADER + NUMBERS * i;
      const [kind, index, start, end] = this.#numbers.subarray(at, at + NUMBERS) as unknown as [
        number,
        number,
        number,
        number,
      ];
      return { kind, index, start, end };
    });
  }
}
