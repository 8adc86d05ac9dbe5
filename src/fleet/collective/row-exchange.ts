// Gradients of embeddings whose batches touch few rows: ranks send each other these rows instead of summing all. Which
// gradients these are, what makes their exchange ready, and what a trainer thread does with them.
import type { CallOptions } from "../../collective/index.ts";
import { RowCodec, type RowShape, rowMessageBytes } from "../../collective/row-message.ts";
import type { FloatType } from "../../kernels/half.ts";
import type { Heap } from "../../memory/index.ts";
import type { Bucket, Differentiated, Op, RowGradient, ValueId } from "../../program/index.ts";

/** Whole gradients travel as fast as rows of half their bytes. */
const LEAST_SAVING = 2;

/**
 * Of gradients that are 0 but for the rows of a batch's ids: which column has these, by parameter. Only those that the
 * rows of all ranks are much shorter than.
 */
export function rowGradients({ program, gradients }: Differentiated, ranks: number): Map<string, RowGradient> {
  if (ranks === 1) return new Map();
  const { ops, values } = program;
  const definitions = new Map<ValueId, Op>(ops.flatMap((op) => op.outputs.map((id) => [id, op] as const)));
  const columns = new Map(Object.entries(program.inputs).map(([name, id]) => [id, name]));
  const found = new Map<string, RowGradient>();
  for (const [parameter, gradient] of Object.entries(gradients)) {
    let op = definitions.get(gradient);
    // The gradient of weights in half precision is rounded, which leaves zeros.
    while (op !== undefined && isCast(op)) op = definitions.get(op.inputs[0]!);
    if (op?.kind !== "embedding_grad") continue;
    let ids = op.inputs[0]!;
    for (let view = definitions.get(ids); view?.kind === "reshape"; view = definitions.get(ids)) ids = view.inputs[0]!;
    const column = columns.get(ids);
    if (column === undefined) continue;
    const [rows, width] = values[gradient]!.shape as [number, number];
    const count = values[ids]!.shape.reduce((a, b) => a * b, 1);
    // Of a sum over P ranks each sends 2·(P − 1)/P of the matrix, of rows P − 1 times its own.
    const length = Math.ceil((count * (width + 1) * ranks) / 2);
    if (LEAST_SAVING * length <= rows * width) found.set(parameter, { column, count, length });
  }
  return found;
}

const isCast = (op: Op): boolean =>
  op.kind === "map" && op.inputs.length === 1 && op.attrs.exprs.length === 1 && op.attrs.exprs[0]!.op === "input";

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
