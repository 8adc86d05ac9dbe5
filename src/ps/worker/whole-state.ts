// All that the servers hold of a model, for checkpoints: dense parameters put together from their pieces, tables as streams
// of rows in ascending order of ids, whatever the number of partitions; and back.
import { encodePush } from "../messages.ts";
import { type DensePiece, placeDense } from "../placement.ts";
import {
  type DefineReply,
  type DenseRequest,
  decodeJson,
  encodeJson,
  type PartitionClient,
  type PartitionStatistics,
  type SaveMode,
  type ScanReply,
} from "../requests.ts";
import { decodeRows, encodeRows, type RowChunk } from "../row-messages.ts";
import { STATISTICS_TABLE } from "../saved-partition.ts";
import { definitionOf, ruleOf, type ServedModel } from "../spec.ts";

/** Rows of a partition in one reply, and at most in a chunk. */
const CHUNK_ROWS = 16_384;

export interface StateColumn {
  readonly name: string;
  readonly width: number;
}

/** Some rows with all their columns. */
export interface StateChunk {
  readonly rows: number;
  readonly keys: BigUint64Array;
  readonly columns: readonly Float32Array[];
}

/** A table as it was when it was asked for; its chunks can be read once. */
export interface StateTable {
  readonly name: string;
  readonly rows: number;
  readonly columns: readonly StateColumn[];
  chunks(): AsyncIterable<StateChunk>;
}

export class WholeState {
  readonly model: ServedModel;
  readonly #clients: readonly PartitionClient[];
  readonly #pieces: readonly DensePiece[];

  constructor(clients: readonly PartitionClient[], model: ServedModel) {
    this.#clients = clients;
    this.model = model;
    this.#pieces = placeDense(model);
  }

  /** Tells all partitions the model. Returns the optimizer steps that they have done. */
  async define(): Promise<number> {
    const replies = await this.#all(() => encodeJson(this.model), "define");
    return Math.max(...replies.map((reply) => (decodeJson(reply) as DefineReply).steps));
  }

  /** Overwrites dense weights; optimizer state starts anew. @param weights by the parameters' places */
  async initialise(weights: readonly Float32Array[]): Promise<void> {
    const common = { definition: definitionOf(this.model), worker: 0, step: 0, samples: 0, batches: 0 };
    await this.#all((partition) => {
      const own = this.#pieces.filter((piece) => piece.partition === partition);
      const sections = own.map(({ dense, start, length }) => ({
        dense,
        wire: "f32" as const,
        values: weights[dense]!.slice(start, start + length),
      }));
      return encodePush({ ...common, sections });
    }, "initialise");
  }

  /** A dense parameter's slots: one number for all of it, or one an element. */
  slots(dense: number): { readonly name: string; readonly perRow: boolean; readonly length: number }[] {
    const { rule, length } = this.model.dense[dense]!;
    if (rule === "value" || this.model.mode === "geo") return [];
    return ruleOf(rule).slots.map(({ name, perRow = false }) => ({ name, perRow, length: perRow ? 1 : length }));
  }

  /** A dense parameter's weights, or a slot. */
  async dense(dense: number, slot?: number): Promise<Float32Array> {
    const length = slot === undefined ? this.model.dense[dense]!.length : this.slots(dense)[slot]!.length;
    const whole = new Float32Array(length);
    await this.#ofDense(dense, async ({ start }, client) => {
      const request: DenseRequest = { dense, ...(slot === undefined ? {} : { slot }) };
      const reply = await client.call("dense", encodeJson(request));
      const values = new Float32Array(reply.slice().buffer);
      whole.set(values, length === 1 ? 0 : start);
    });
    return whole;
  }

  /** Overwrites a dense parameter's weights, or a slot. */
  async putDense(dense: number, slot: number | undefined, values: Float32Array): Promise<void> {
    await this.#ofDense(dense, async ({ start, length }, client) => {
      const request: DenseRequest = { dense, ...(slot === undefined ? {} : { slot }) };
      const json = encodeJson(request)[0]!;
      const head = new Uint8Array(Math.ceil((json.byteLength + 1) / 8) * 8);
      head.set(json);
      const part = values.length === 1 ? values.slice() : values.slice(start, start + length);
      await client.call("putDense", [head, new Uint8Array(part.buffer)]);
    });
  }

  /** A table with all columns, as it is now, or the statistics of its rows. */
  async table(table: number, statistics = false): Promise<StateTable> {
    const replies = await this.#all(() => encodeJson({ table, statistics }), "scan");
    const scans = replies.map((reply) => decodeJson(reply) as ScanReply);
    const { name } = this.model.tables[table]!.spec;
    return {
      name: statistics ? `${name}${STATISTICS_TABLE}` : name,
      rows: scans.reduce((sum, { rows }) => sum + rows, 0),
      columns: scans[0]!.columns,
      chunks: () =>
        merged(
          scans.map((scan, i) => this.#scanned(this.#clients[i]!, scan)),
          scans[0]!.columns,
        ),
    };
  }

  /** Writes rows as they are, each to its partition. */
  async putRows(chunk: RowChunk): Promise<void> {
    // Copies: what is sent must stay as it is, and the caller reuses its memory.
    const { table, keys, columns } = chunk;
    const copied = columns.map(({ width, values }) => ({ width, values: values.slice() }));
    await this.#all(() => encodeRows({ table, keys: keys.slice(), columns: copied }), "putRows");
  }

  /** Has each partition write its part into a folder of its disk. */
  async save(folder: string, mode: SaveMode): Promise<void> {
    await this.#all(() => encodeJson({ folder, mode }), "save");
  }

  /** Has each partition take its rows out of such a folder, saved by any number of partitions. */
  async load(folder: string): Promise<void> {
    await this.#all(() => encodeJson({ folder }), "load");
  }

  async setSteps(steps: number): Promise<void> {
    await this.#all(() => encodeJson({ steps }), "setSteps");
  }

  async statistics(): Promise<PartitionStatistics[]> {
    const replies = await this.#all(() => [], "statistics");
    return replies.map((reply) => decodeJson(reply) as PartitionStatistics);
  }

  #all(
    parts: (partition: number) => readonly Uint8Array[],
    method: Parameters<PartitionClient["call"]>[0],
  ): Promise<Uint8Array[]> {
    return Promise.all(this.#clients.map((client, partition) => client.call(method, parts(partition))));
  }

  async #ofDense(dense: number, work: (piece: DensePiece, client: PartitionClient) => Promise<void>): Promise<void> {
    const pieces = this.#pieces.filter((piece) => piece.dense === dense);
    await Promise.all(pieces.map((piece) => work(piece, this.#clients[piece.partition]!)));
  }

  async *#scanned(client: PartitionClient, { scan, rows }: ScanReply): AsyncGenerator<RowChunk> {
    try {
      for (let first = 0; first < rows; first += CHUNK_ROWS) {
        const n = Math.min(CHUNK_ROWS, rows - first);
        const reply = await client.call("scanRows", encodeJson({ scan, first, rows: n }));
        yield decodeRows(reply);
      }
    } finally {
      await client.call("endScan", encodeJson({ scan }));
    }
  }
}

/** Streams in ascending order of ids become one in the same order. */
async function* merged(
  streams: AsyncGenerator<RowChunk>[],
  columns: readonly StateColumn[],
): AsyncGenerator<StateChunk> {
  const keys = new BigUint64Array(CHUNK_ROWS);
  const values = columns.map(({ width }) => new Float32Array(CHUNK_ROWS * width));
  const heads = await Promise.all(
    streams.map(async (stream) => ({ stream, chunk: (await stream.next()).value as RowChunk | undefined, at: 0 })),
  );
  let rows = 0;
  const take = (): StateChunk => {
    const n = rows;
    rows = 0;
    return {
      rows: n,
      keys: keys.subarray(0, n),
      columns: values.map((array, i) => array.subarray(0, n * columns[i]!.width)),
    };
  };
  for (;;) {
    let least: (typeof heads)[number] | undefined;
    for (const head of heads) {
      if (head.chunk === undefined) continue;
      if (least === undefined || head.chunk.keys[head.at]! < least.chunk!.keys[least.at]!) least = head;
    }
    if (least === undefined) break;
    const { chunk, at } = least as { chunk: RowChunk; at: number };
    keys[rows] = chunk.keys[at]!;
    for (const [i, { width }] of columns.entries()) {
      values[i]!.set(chunk.columns[i]!.values.subarray(at * width, (at + 1) * width), rows * width);
    }
    rows++;
    least.at++;
    if (least.at === chunk.keys.length) {
      least.chunk = (await least.stream.next()).value as RowChunk | undefined;
      least.at = 0;
    }
    if (rows === CHUNK_ROWS) yield take();
  }
  if (rows > 0) yield take();
}
