// How trainer threads reach the other ranks: plain data, and what a thread makes of it.
// Trainer threads load no more than they need: the rest of the folder brings transports.
import { CallQueue, type Ticket } from "../../collective/call-queue.ts";
import type { Communication } from "../../engine/index.ts";
import type { Heap } from "../../memory/index.ts";
import { Wish } from "../control.ts";

/** A collective that is ready to be started. */
export interface NamedCall {
  /** Which of the queues it goes to, and its number there. */
  readonly stream: number;
  readonly id: number;
}

export interface ExchangeHandle {
  /** This rank, from 0. */
  readonly rank: number;
  /** Addresses of the queues of communication threads; none where the job has one rank. */
  readonly queues: readonly number[];
  /** By the name that instructions have. */
  readonly calls: Readonly<Record<string, NamedCall>>;
  /** Address of a word for each call: the ticket of its last start. */
  readonly tickets: number;
  /** What ranks bring to a step: a sum over the ranks of the numbers at this address. */
  readonly tally: NamedCall & { readonly address: number };
  /** What losses are divided by: the rows of a batch. */
  readonly batch: number;
}

/** Numbers of a tally, in their order. */
export const TALLY = { rows: 0, weight: 1, pauses: 2, stops: 3, lossSum: 4, lossWeight: 5 } as const;
export const TALLY_NUMBERS = 16;

export function attachCommunication(heap: Heap, { rank, queues, calls, tickets }: ExchangeHandle): Communication {
  const all = queues.map((address) => new CallQueue(heap, address));
  const names = Object.keys(calls);
  const words = heap.i32(tickets, Math.max(1, names.length));
  const of = (name: string): { index: number; queue: CallQueue | undefined; id: number } => {
    const call = calls[name];
    if (call === undefined) throw new Error(`no collective was made ready for "${name}"`);
    return { index: names.indexOf(name), queue: all[call.stream], id: call.id };
  };
  return {
    rank,
    start(name) {
      const { index, queue, id } = of(name);
      if (queue === undefined) return () => {};
      return () => {
        words[index] = queue.start(id);
      };
    },
    wait(name) {
      const { index, queue } = of(name);
      if (queue === undefined) return () => {};
      return () => queue.wait(words[index]!);
    },
  };
}

/** What a step's ranks bring together; used by the first trainer thread. */
export class Tally {
  readonly #queue: CallQueue | undefined;
  readonly #id: number;
  readonly #numbers: Float32Array;
  readonly #calls: readonly { readonly queue: CallQueue; readonly index: number }[];
  readonly #tickets: Int32Array;
  #ticket: Ticket = 0;

  constructor(heap: Heap, { queues, calls, tickets, tally }: ExchangeHandle) {
    const all = queues.map((address) => new CallQueue(heap, address));
    this.#queue = all[tally.stream];
    this.#calls = Object.values(calls).flatMap(({ stream }, index) => {
      const queue = all[stream];
      return queue === undefined ? [] : [{ queue, index }];
    });
    this.#tickets = heap.i32(tickets, Math.max(1, this.#calls.length));
    this.#id = tally.id;
    this.#numbers = heap.f32(tally.address, TALLY_NUMBERS);
  }

  /** @param asked what this rank asks all for: a sum of `Wish`es */
  begin(rows: number, weight: number, asked: number): void {
    this.#numbers[TALLY.rows] = rows;
    this.#numbers[TALLY.weight] = weight;
    this.#numbers[TALLY.pauses] = asked & Wish.pause;
    this.#numbers[TALLY.stops] = asked & Wish.stop;
    if (this.#queue !== undefined) this.#ticket = this.#queue.start(this.#id);
  }

  /** What the rows of the last batch have lost, and what they weigh; before `begin`. */
  bringLoss(sum: number, weight: number): void {
    this.#numbers[TALLY.lossSum] = sum;
    this.#numbers[TALLY.lossWeight] = weight;
  }

  /** Waits for what all bring. */
  end(): void {
    this.#queue?.wait(this.#ticket);
  }

  /** Waits for the sums that were started and that nothing applies. */
  settle(): void {
    for (let i = 0; i < this.#calls.length; i++) {
      const { queue, index } = this.#calls[i]!;
      queue.wait(this.#tickets[index]!);
    }
  }

  get rows(): number {
    return this.#numbers[TALLY.rows]!;
  }

  get weight(): number {
    return this.#numbers[TALLY.weight]!;
  }

  /** The mean loss of the last batches. */
  get loss(): number {
    return this.#numbers[TALLY.lossSum]! / this.#numbers[TALLY.lossWeight]!;
  }

  get pauses(): number {
    return this.#numbers[TALLY.pauses]!;
  }

  get stops(): number {
    return this.#numbers[TALLY.stops]!;
  }
}
