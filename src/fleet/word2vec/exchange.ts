// Geo-SGD of word vectors: what this worker has changed goes to the servers, which add it up, and what others have changed
// comes back. The servers hold sums of changes by row, so that rows that nobody has met cost nothing.
import { crc32 } from "node:zlib";
import { type Heap, instantiate } from "../../memory/index.ts";
import {
  type ChangesPosition,
  type Durability,
  decodeChangesReply,
  definitionOf,
  encodeChanges,
  encodePush,
  type PartitionClient,
  parseModel,
  type ServedModel,
  type SplitKernel,
  splitKernel,
  type WireType,
  wireBytes,
} from "../../ps/index.ts";
import { type Converter, converterOf } from "../../ps/worker/index.ts";
import type { SharedEmbeddings } from "../../word2vec/index.ts";

/** Exports of word2vec-exchange.as.ts. */
interface ExchangeKernel {
  takeDeltas(
    local: number,
    origin: number,
    known: number,
    rowBytes: number,
    list: number,
    n: number,
    dim: number,
    shares: number,
    keys: number,
    out: number,
  ): number;
  putFresh(
    local: number,
    known: number,
    rowBytes: number,
    rows: number,
    keys: number,
    n: number,
    dim: number,
    fresh: number,
  ): number;
}

/** Rows that are taken at a time. */
const BLOCK_ROWS = 16_384;
/** Rows that a server is asked for at a time: its part of a block, and no less than it looks at anyway. */
const LEAST_ROWS = 1024;
const MARGIN = 4096;
/** No server's: it then gives all rows. */
const ALL_ROWS: ChangesPosition = { epoch: 1n << 63n, since: 0n, scan: 0n };

export const matrixNames = ["input", "output"] as const;
type MatrixName = (typeof matrixNames)[number];

/** Addresses of a matrix: the rows that threads move, as they began, and the sum of changes that servers are known to hold. */
interface Matrix {
  readonly name: MatrixName;
  readonly table: number;
  readonly local: number;
  readonly origin: number;
  readonly known: number;
  /** By partition. */
  readonly positions: ChangesPosition[];
  /** By partition: where its replies lie. Fresh memory for each costs more than all the rest of receiving it. */
  readonly replies: Uint8Array[];
}

export interface ExchangeTraffic {
  sentRows: number;
  sentBytes: number;
  receivedRows: number;
  receivedBytes: number;
}

/** Tables of rows by number of the word, from 1. Another vocabulary is another model, which servers refuse. */
export function servedVectors(
  { words, dim }: Pick<SharedEmbeddings, "words" | "dim">,
  options: { workers: number; partitions: number; wire: WireType; durability: Durability },
): ServedModel {
  const { workers, partitions, wire, durability } = options;
  const seed = crc32(words.join("\n"));
  const field = { name: "vector", dim, slots: [], init: { kind: "zeros", scale: 0 } } as const;
  return parseModel({
    ...{ mode: "geo", workers, partitions, storage: { durability } },
    tables: matrixNames.map((name) => ({ spec: { name, seed, fields: [field] }, wire })),
  });
}

export interface ExchangeOptions {
  readonly clients: readonly PartitionClient[];
  readonly model: ServedModel;
  /** Its rank. */
  readonly worker: number;
  /** Of a row's change, what is sent at each exchange. */
  readonly shares: Float32Array;
  /** Whether rarer words take part in fewer exchanges. */
  readonly turns: boolean;
}

/**
 * The most frequent words, a sixteenth of all, take part in every exchange; an eighth in every second one, all in every
 * sixteenth: exchanges as often as words change (Ji et al. 2016, arXiv 1604.04661).
 */
const LEVELS = 4;

/** Rows, from the first, that take part in exchange `turn`, counted from 1. */
export function rowsOfTurn(turn: number, rows: number): number {
  const level = Math.min(LEVELS, 31 - Math.clz32(turn & -turn));
  return Math.min(rows, 4 * Math.ceil(rows / 2 ** (LEVELS - level) / 4));
}

/** Exchanges from one in which a row takes part to the next. */
export const turnsOf = (row: number, rows: number): number =>
  2 ** Math.max(0, LEVELS + Math.ceil(Math.log2((row + 1) / rows)));

/** Occurrences between two exchanges by which a row has half forgotten where it was. */
const FORGETS = 300;

/**
 * Of the changes of a row that occurs `occurrences` times between two exchanges, the share that a worker sends. Workers that
 * meet a row seldom move it apart from each other: their changes add up. A row that is met often ends where its neighbours
 * want it, in every worker: the mean is right, 1 / workers.
 */
export const shareOf = (occurrences: number, workers: number): number =>
  1 / (1 + ((workers - 1) * occurrences) / (occurrences + FORGETS));

export class EmbeddingExchange {
  readonly traffic: ExchangeTraffic = { sentRows: 0, sentBytes: 0, receivedRows: 0, receivedBytes: 0 };
  readonly #embeddings: SharedEmbeddings;
  readonly #clients: readonly PartitionClient[];
  /** Of a request. */
  readonly #maxRows: number;
  readonly #model: ServedModel;
  readonly #worker: number;
  readonly #turns: boolean;
  readonly #heap: Heap;
  readonly #kernel: ExchangeKernel;
  readonly #split: SplitKernel;
  readonly #convert: Converter;
  readonly #matrices: readonly Matrix[];
  readonly #blocks: number[] = [];
  /** f32 a row. */
  readonly #shares: number;
  #sends = 0;
  readonly #scratch: Readonly<Record<"list" | "keys" | "sorted" | "owners" | "order" | "starts", number>>;
  readonly #values: Readonly<Record<"taken" | "sorted" | "halves" | "fresh", number>>;

  constructor(embeddings: SharedEmbeddings, { clients, model, worker, shares, turns }: ExchangeOptions) {
    const { heap, rows, dim, stride, matrices } = embeddings;
    this.#embeddings = embeddings;
    this.#clients = clients;
    this.#maxRows = Math.max(LEAST_ROWS, Math.ceil(BLOCK_ROWS / clients.length));
    this.#model = model;
    this.#worker = worker;
    this.#turns = turns;
    this.#heap = heap;
    this.#kernel = instantiate("word2vec-exchange", heap);
    this.#split = splitKernel(heap);
    this.#convert = converterOf(heap);
    this.#shares = this.#take(4 * rows);
    heap.f32(this.#shares, rows).set(shares);
    const size = rows * stride;
    this.#matrices = matrixNames.map((name, table) => {
      const [local, known] = [matrices[name].byteOffset, this.#take(4 * size)];
      heap.f32(known, size).fill(0);
      // Output rows begin as zeros.
      const origin = name === "input" ? this.#take(4 * size) : 0;
      if (origin > 0) heap.f32(origin, size).set(matrices[name]);
      const { wire } = model.tables[table]!;
      const replies = clients.map(() => new Uint8Array(56 + this.#maxRows * (8 + wireBytes[wire] * dim)));
      return { name, table, local, origin, known, positions: clients.map(() => ALL_ROWS), replies };
    });
    const most = BLOCK_ROWS;
    this.#scratch = {
      ...{ list: this.#take(4 * most), keys: this.#take(8 * most), sorted: this.#take(8 * most) },
      ...{ owners: this.#take(4 * most), order: this.#take(4 * most), starts: this.#take(4 * (clients.length + 1)) },
    };
    const [taken, sorted, halves, fresh] = [4, 4, 2, 4].map((bytes) => this.#take(bytes * most * dim));
    this.#values = { taken: taken!, sorted: sorted!, halves: halves!, fresh: fresh! };
  }

  /** Sends a share of what has changed of the touched rows whose turn it is, or of all rows all that has changed. */
  async send(which: "touched" | "all"): Promise<void> {
    this.#sends++;
    const { rows: all } = this.#embeddings;
    const upTo = this.#turns ? rowsOfTurn(this.#sends, all) : all;
    for (const matrix of this.#matrices) {
      const rows = which === "all" ? undefined : this.#embeddings.takeTouched(matrix.name, upTo);
      const count = rows?.length ?? this.#embeddings.rows;
      for (let first = 0; first < count; first += BLOCK_ROWS) {
        const n = Math.min(BLOCK_ROWS, count - first);
        const list = this.#heap.u32(this.#scratch.list, n);
        if (rows === undefined) for (let i = 0; i < n; i++) list[i] = first + i;
        else list.set(rows.subarray(first, first + n));
        await this.#sendBlock(matrix, n, which === "all" ? 0 : this.#shares);
      }
    }
  }

  /** Takes over what others have changed since the last call; the first time, what there is. */
  async receive(which: readonly MatrixName[] = matrixNames): Promise<void> {
    const wanted = this.#matrices.filter(({ name }) => which.includes(name));
    await Promise.all(
      wanted.flatMap((matrix) => this.#clients.map((_, partition) => this.#receive(matrix, partition))),
    );
  }

  free(): void {
    for (const block of this.#blocks.splice(0)) this.#heap.free(block);
  }

  async #sendBlock({ local, origin, known, table }: Matrix, n: number, shares: number): Promise<void> {
    const { dim, stride } = this.#embeddings;
    const { list, keys, sorted, owners, order, starts } = this.#scratch;
    const { taken, sorted: rows, halves } = this.#values;
    const count = this.#kernel.takeDeltas(local, origin, known, 4 * stride, list, n, dim, shares, keys, taken) >>> 0;
    if (count === 0) return;
    const partitions = this.#clients.length;
    this.#split.split(keys, count, partitions, owners, starts, order);
    this.#split.takeKeys(keys, order, count, sorted);
    this.#split.takeRows(taken, order, count, 4 * dim, rows);
    const { wire } = this.#model.tables[table]!;
    if (wire !== "f32") this.#convert.fromF32(wire, rows, count * dim, halves);
    const bounds = this.#heap.u32(starts, partitions + 1).slice();
    const bytes = wireBytes[wire] * dim;
    await Promise.all(
      this.#clients.map(async (client, partition) => {
        const first = bounds[partition]!;
        const own = bounds[partition + 1]! - first;
        if (own === 0) return;
        const values = this.#heap.u8((wire === "f32" ? rows : halves) + bytes * first, bytes * own);
        const section = { table, fields: [0], width: dim, wire, keys: this.#heap.u64(sorted + 8 * first, own), values };
        const push = { definition: definitionOf(this.#model), worker: this.#worker, step: 0, samples: own, batches: 1 };
        const parts = encodePush({ ...push, sections: [section] });
        this.traffic.sentRows += own;
        this.traffic.sentBytes += parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
        await client.call("push", parts);
      }),
    );
  }

  async #receive(matrix: Matrix, partition: number): Promise<void> {
    const { rows, dim, stride } = this.#embeddings;
    const { wire } = this.#model.tables[matrix.table]!;
    const common = {
      definition: definitionOf(this.#model),
      worker: this.#worker,
      table: matrix.table,
      fields: [0],
      wire,
    };
    for (let more = true; more; ) {
      const position = matrix.positions[partition]!;
      const body = await this.#clients[partition]!.call(
        "changes",
        encodeChanges({ ...common, maxRows: this.#maxRows, position }),
        matrix.replies[partition]!,
      );
      const reply = decodeChangesReply(body);
      const n = reply.keys.length;
      this.traffic.receivedRows += n;
      this.traffic.receivedBytes += body.byteLength;
      for (let first = 0; first < n; first += BLOCK_ROWS) {
        const some = Math.min(BLOCK_ROWS, n - first);
        this.#heap.u64(this.#scratch.sorted, some).set(reply.keys.subarray(first, first + some));
        const bytes = reply.values.subarray(first * dim * wireBytes[wire], (first + some) * dim * wireBytes[wire]);
        const to = wire === "f32" ? this.#values.fresh : this.#values.halves;
        this.#heap.u8(to, bytes.length).set(bytes);
        if (wire !== "f32") this.#convert.toF32(wire, to, some * dim, this.#values.fresh);
        const { local, known } = matrix;
        const stray = this.#kernel.putFresh(
          local,
          known,
          4 * stride,
          rows,
          this.#scratch.sorted,
          some,
          dim,
          this.#values.fresh,
        );
        if (stray > 0)
          throw new Error(`the servers have ${stray} rows of ${matrix.name} beyond the ${rows} words here`);
      }
      matrix.positions[partition] = reply.position;
      more = reply.more;
    }
  }

  #take(bytes: number): number {
    const block = this.#heap.alloc(bytes + MARGIN);
    this.#blocks.push(block);
    return block;
  }
}
