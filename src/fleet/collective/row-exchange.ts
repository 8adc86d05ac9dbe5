// Gradients of embeddings whose batches touch few rows: ranks send each other these rows instead of summing all. What makes
// their exchange ready, and what a trainer thread does with them.
import type { CallOptions } from "../../collective/index.ts";
import { RowCodec, type RowShape, rowMessageBytes } from "../../collective/row-message.ts";
import type { FloatType } from "../../kernels/half.ts";
import type { Heap } from "../../memory/index.ts";
import type { Bucket } from "../../program/index.ts";

/** As plain data, by thread. */
export interface RowExchangeHandle extends RowShape {
  /** Ids of a batch. */
  readonly count: number;
  /** Addresses: the matrix, the column of ids, the messages of all ranks, and the codec's memory. */
  readonly matrix: number;
  readonly ids: number;
  readonly messages: number;
  readonly codec: number;
  readonly messageBytes: number;
  readonly rank: number;
  readonly ranks: number;
  readonly wire: FloatType;
}

export interface RowPlace {
  readonly bucket: Bucket;
  /** Where the bucket and the batch's ids lie. */
  readonly address: number;
  readonly ids: number;
  readonly rank: number;
  readonly ranks: number;
  readonly wire: FloatType;
  /** Zeros, until the session ends. */
  readonly allocate: (bytes: number) => number;
}

/** Memory for the messages of a bucket, and the collective that brings them. */
export function prepareRows(place: RowPlace): { readonly handle: RowExchangeHandle; readonly call: CallOptions } {
  const { bucket, address, allocate, wire, ranks } = place;
  const [rows, width] = bucket.parts[0]!.shape as [number, number];
  const { count } = bucket.rows!;
  const shape = { rows, width, most: Math.min(rows, count) };
  const messageBytes = rowMessageBytes(shape, wire);
  const messages = allocate(ranks * messageBytes);
  const { ids, rank } = place;
  return {
    handle: {
      ...{ ...shape, count, matrix: address, ids, messages, messageBytes, rank, ranks, wire },
      codec: allocate(RowCodec.bytes(shape)),
    },
    call: {
      ...{ collective: "all-gather", name: bucket.name, address: messages, dtype: "u32" },
      count: (ranks * messageBytes) / 4,
    },
  };
}

/** A thread's part in the exchange of one matrix. */
export class RowExchange {
  readonly #handle: RowExchangeHandle;
  readonly #codec: RowCodec;

  constructor(heap: Heap, handle: RowExchangeHandle) {
    this.#handle = handle;
    this.#codec = new RowCodec(heap, handle, handle.wire, handle.codec);
  }

  /** Writes this rank's message. */
  pack(): void {
    const { matrix, ids, count, rank } = this.#handle;
    this.#codec.take(matrix, ids, count, this.#message(rank));
  }

  /** Puts the sum of all ranks' rows into the matrix, in the order of the ranks, so that all get the same bits. */
  unpack(): void {
    const { matrix, rank, ranks } = this.#handle;
    this.#codec.clear(matrix, this.#message(rank));
    for (let from = 0; from < ranks; from++) {
      if (this.#codec.add(matrix, this.#message(from))) continue;
      throw new Error(`what rank ${from} sent of the rows of a gradient is not a part of it`);
    }
  }

  #message(rank: number): number {
    return this.#handle.messages + rank * this.#handle.messageBytes;
  }
}
