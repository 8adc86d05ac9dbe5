// Word vectors by the workers of a job: each trains on its share of the text and exchanges what it learns by the servers.
import { z } from "zod";
import type { WorkUnit } from "../../cluster/index.ts";
import { durabilities, wireTypes } from "../../ps/index.ts";
import { RemotePartitions, WholeState } from "../../ps/worker/index.ts";
import type {
  SharedEmbeddings,
  Synchronise,
  Word2Vec,
  Word2VecResult,
  Word2VecTrainOptions,
} from "../../word2vec/index.ts";
import type { Place } from "../place.ts";
import type { Servers } from "../servers.ts";
import { EmbeddingExchange, type ExchangeTraffic, servedVectors, shareOf, turnsOf } from "./exchange.ts";

const optionsSchema = z.strictObject({
  /**
   * `geo`: workers train on copies of their own and now and then exchange what has changed (Geo-SGD). `async`: every thread
   * exchanges after each 8192 words, and waits for it: to compare with.
   */
  mode: z.enum(["geo", "async"]).default("geo"),
  /**
   * Mode `geo`: words that a worker trains on between two exchanges of the most frequent words; rarer ones are exchanged down
   * to every 16th time. Default 20 for each of the vocabulary, or as many as make 32 exchanges where these are fewer.
   */
  everyWords: z.int().min(1).optional(),
  /** How changes travel, and rows back; default "f16". */
  wire: z.enum(wireTypes).default("f16"),
  /** What servers keep of it on disk; default "snapshot". */
  durability: z.enum(durabilities).default("snapshot"),
});

export interface TrainVectorsOptions
  extends Omit<Word2VecTrainOptions, "shard" | "synchronise">,
    z.input<typeof optionsSchema> {}

export interface TrainVectorsResult extends Word2VecResult {
  /** What went to the servers and came from them; nothing in a job of one process. */
  readonly traffic: Readonly<ExchangeTraffic>;
}

const WORDS_A_ROW = 20;
const LEAST_EXCHANGES = 32;
/** In mode `async`, of each thread. */
const ASYNC_WORDS = 8192;
const noTraffic: ExchangeTraffic = { sentRows: 0, sentBytes: 0, receivedRows: 0, receivedBytes: 0 };

/**
 * Trains by all workers of a job; all get the same vectors. In a job of one process this is `model.train`.
 * @param job of `fleet.init`
 * @throws TypeError for a wrong option, Error for several workers without servers
 */
export async function trainVectors(
  job: Pick<Place, "servers" | "workers" | "world">,
  model: Word2Vec,
  files: string | readonly string[],
  options: TrainVectorsOptions = {},
): Promise<TrainVectorsResult> {
  const { mode, everyWords, wire, durability, ...rest } = options;
  const { threads } = job.world;
  const training = { ...(threads === undefined ? {} : { threads }), ...rest };
  const own = Object.fromEntries(
    Object.entries({ mode, everyWords, wire, durability }).filter(([, value]) => value !== undefined),
  );
  const parsed = optionsSchema.safeParse(own);
  if (!parsed.success) throw new TypeError(`word2vec: ${z.prettifyError(parsed.error)}`);
  const settings = parsed.data;
  if (settings.mode === "async" && settings.everyWords !== undefined)
    throw new TypeError('word2vec: everyWords is for mode "geo"; mode "async" exchanges after each 8192 words');
  const { servers, workers } = job;
  if (servers === undefined) {
    if (workers.workers === 1) return { ...(await model.train(files, training)), traffic: noTraffic };
    throw new Error(
      `word2vec: ${workers.workers} workers need parameter servers to exchange by: flotilla launch --servers 1 …`,
    );
  }
  if (servers.count("word2vec") > 0) throw new Error("word2vec: a job with servers trains vectors once");
  const remote = await RemotePartitions.connect({
    ...{ addresses: servers.addresses, deadlineMs: servers.deadlineMs, name: `worker ${servers.own.rank}` },
    ...(servers.keys === undefined ? {} : { keys: servers.keys }),
    onDisconnect: (address, error) => servers.say(`the server at ${address} is gone: ${error.message}; waiting`),
    onReconnect: (address) => servers.say(`the server at ${address} is back`),
  });
  try {
    return await new VectorTraining(servers, remote, model, settings).run(files, training);
  } finally {
    await remote.close();
  }
}

/** A share of the text, held until it is trained on. */
type Share = Pick<WorkUnit, "index" | "noted" | "progress" | "done">;

class VectorTraining {
  readonly #servers: Servers;
  readonly #remote: RemotePartitions;
  readonly #model: Word2Vec;
  readonly #settings: z.output<typeof optionsSchema>;
  #exchange: EmbeddingExchange | undefined;

  constructor(servers: Servers, remote: RemotePartitions, model: Word2Vec, settings: z.output<typeof optionsSchema>) {
    this.#servers = servers;
    this.#remote = remote;
    this.#model = model;
    this.#settings = settings;
  }

  /** Shares of workers that die go to those that are done with their own. */
  async run(files: string | readonly string[], options: Word2VecTrainOptions): Promise<TrainVectorsResult> {
    const traffic = { ...noTraffic };
    let [words, seconds] = [0, 0];
    let result: Word2VecResult | undefined;
    for await (const share of this.#shares()) {
      result = await this.#train(share, files, options, traffic);
      words += result.words;
      seconds += result.seconds;
      if (result.stopped) break;
      await share.done();
    }
    // A worker that came late has nothing left to do but to take what the others have learnt.
    result ??= await this.#train(undefined, files, options, traffic);
    const trained = performance.now();
    await this.#exchange!.receive(["input"]);
    seconds += (performance.now() - trained) / 1000;
    this.#count(traffic);
    return { ...result, words, seconds, wordsPerSecond: words / Math.max(1e-9, seconds), traffic };
  }

  async *#shares(): AsyncGenerator<Share> {
    const { member, workers, own } = this.#servers;
    if (member === undefined || workers === 1) {
      yield { index: own.rank, noted: undefined, progress: async () => {}, done: async () => {} };
      return;
    }
    const queue = await member.lease(
      "word2vec/shares",
      Array.from({ length: workers }, (_, i) => `${i + 1}/${workers}`),
    );
    for (let unit = await queue.next(); unit !== undefined; unit = await queue.next()) yield unit;
  }

  async #train(
    share: Share | undefined,
    files: string | readonly string[],
    options: Word2VecTrainOptions,
    traffic: ExchangeTraffic,
  ): Promise<Word2VecResult> {
    const { workers } = this.#servers;
    const { mode, everyWords } = this.#settings;
    const synchronise: Synchronise = {
      everyWords: (rows, words) => {
        if (mode === "async") return ASYNC_WORDS;
        return everyWords ?? Math.min(WORDS_A_ROW * rows, Math.ceil(words / LEAST_EXCHANGES));
      },
      wait: mode === "async",
      begin: async (embeddings, words) => {
        this.#count(traffic);
        this.#exchange = await this.#begin(embeddings, words);
        return share === undefined ? 1 : Number(share.noted ?? 0);
      },
      run: async (_, { done, last }) => {
        const exchange = this.#exchange!;
        // What is left of the changes when the threads have ended goes out whole.
        await exchange.send(last ? "all" : "touched");
        await share?.progress(String(done));
        // What others still learn is taken over once, when all have ended.
        if (workers > 1 && !last) await exchange.receive();
      },
    };
    const shard = { rank: share?.index ?? 0, worldSize: workers };
    return this.#model.train(files, { ...options, shard, synchronise });
  }

  /** Tells the servers the model, unless another worker has, and takes what they have. */
  async #begin(embeddings: SharedEmbeddings, everyWords: number): Promise<EmbeddingExchange> {
    const servers = this.#servers;
    const { wire, durability, mode } = this.#settings;
    const partitions = servers.addresses.length;
    const served = servedVectors(embeddings, { workers: servers.workers, partitions, wire, durability });
    const state = new WholeState(this.#remote.clients, served);
    await servers.first("word2vec/define", async () => {
      await state.define();
    });
    // Refused here by name where this worker has read another text.
    await state.define();
    const exchange = new EmbeddingExchange(embeddings, {
      ...{ clients: this.#remote.clients, model: served, worker: servers.own.rank },
      ...(mode === "async"
        ? { shares: new Float32Array(embeddings.rows).fill(1), turns: false }
        : { shares: this.#sharesOfRows(embeddings, everyWords), turns: true }),
    });
    await exchange.receive();
    return exchange;
  }

  #sharesOfRows({ counts, rows }: SharedEmbeddings, everyWords: number): Float32Array {
    const { workers } = this.#servers;
    const total = counts.reduce((a, b) => a + b, 0);
    const limit = this.#model.settings.subsample * total;
    return Float32Array.from(counts, (count, row) => {
      const kept = limit === 0 ? 1 : Math.min(1, Math.sqrt(limit / count) + limit / count);
      return shareOf((turnsOf(row, rows) * everyWords * kept * count) / total, workers);
    });
  }

  #count(traffic: ExchangeTraffic): void {
    if (this.#exchange === undefined) return;
    for (const name of ["sentRows", "sentBytes", "receivedRows", "receivedBytes"] as const) {
      traffic[name] += this.#exchange.traffic[name];
    }
    this.#exchange.free();
  }
}
