// What a partition holds, and how pulls and pushes of checked bodies act on it. Everything happens at once in one thread;
// who waits for whom, and what is written to disk, is the business of partition.ts.
import type { Heap } from "../memory/index.ts";
import { RpcError } from "../net/index.ts";
import type { DensePart } from "./dense-part.ts";
import { type Converter, converterOf } from "./halves.ts";
import { Holdings, type HoldingsOptions } from "./holdings.ts";
import { Merger, type Weighted } from "./merge.ts";
import { type PullView, type PushView, type SparseSection, wireBytes } from "./messages.ts";
import { Scratch } from "./scratch.ts";
import { SectionReader } from "./sections.ts";
import { definitionOf, parseModel, type ServedModel } from "./spec.ts";
import type { SparseGradientBatch, TablePart } from "./table-part.ts";

export type StateOptions = HoldingsOptions;

/** The most bytes of a reply: that of one frame. */
const MAX_REPLY_BYTES = 2 ** 28 - 1024;
/** A push is refused when, beside its rows, less than this is free: indexes grow, too. */
const LEAST_FREE_BYTES = 1 << 24;

export interface PullOptions {
  /** The state must stay as it is. */
  readonly frozen?: boolean;
  /** Gives memory for the reply. */
  readonly memory?: ((bytes: number) => Uint8Array) | undefined;
}

/** A push and who made it. */
export interface PushEntry {
  readonly view: PushView;
  readonly body: Uint8Array;
}

export class PartitionState {
  readonly heap: Heap;
  readonly scratch: Scratch;
  readonly partition: number;
  model: ServedModel | undefined;
  definition = 0;
  /** Optimizer steps done. */
  steps = 0;
  /** Pushes applied: what admission by chance draws by. */
  draws = 0;
  readonly #options: StateOptions;
  readonly converter: Converter;
  readonly #merger: Merger;
  readonly holdings: Holdings;
  readonly #sections: SectionReader;

  constructor(heap: Heap, options: StateOptions) {
    this.heap = heap;
    this.#options = options;
    this.partition = options.partition;
    this.scratch = new Scratch(heap);
    this.converter = converterOf(heap);
    this.#merger = new Merger(heap, this.scratch);
    this.holdings = new Holdings(this.scratch);
    this.#sections = new SectionReader(heap, this.scratch, this.converter, this);
  }

  get tables(): readonly TablePart[] {
    return this.holdings.tables;
  }

  /** By the parameters' places in the model's list, where this partition has a piece. */
  get dense(): ReadonlyMap<number, DensePart> {
    return this.holdings.dense;
  }

  /** Serves a model. The same one again changes nothing. @throws RpcError `refused` for another or a wrong one */
  define(value: unknown): void {
    let model: ServedModel;
    try {
      model = parseModel(value);
      if (this.partition >= model.partitions) {
        throw new Error(`parameter server: the model has ${model.partitions} partitions, this is ${this.partition}`);
      }
    } catch (cause) {
      throw new RpcError("refused", (cause as Error).message, { cause });
    }
    const definition = definitionOf(model);
    if (this.model !== undefined) {
      if (definition === this.definition) return;
      throw new RpcError("refused", "the parameter server serves another model already; start new servers");
    }
    try {
      this.holdings.serve(this.heap, model, this.#options);
    } catch (cause) {
      throw new RpcError("refused", (cause as Error).message, { cause });
    }
    this.model = model;
    this.definition = definition;
  }

  /** @throws RpcError `undefined` or `refused` */
  expectModel(definition?: number): ServedModel {
    if (this.model === undefined) {
      throw new RpcError("undefined", `partition ${this.partition} serves nothing yet; define a model first`);
    }
    if (definition !== undefined && definition !== this.definition) {
      throw new RpcError("refused", `partition ${this.partition} serves another model than the caller's`);
    }
    return this.model;
  }

  /**
   * Checks all of a push that is applied later.
   * @throws RpcError `malformed`, `refused`, `not finite`, `full`
   */
  check(entry: PushEntry): void {
    this.#inScratch(entry.body, (base) => this.#check(entry, base));
  }

  /** Checks all of a push, then applies it as one optimizer step. @throws RpcError as `check`, then nothing was applied */
  push(entry: PushEntry): void {
    this.#inScratch(entry.body, (base) => {
      this.#check(entry, base);
      this.#apply(entry, base);
    });
    this.steps += entry.view.batches;
    this.draws++;
    this.enforceLimit();
  }

  /** Applies the checked pushes of all workers as one optimizer step: mode `sync`. Nothing happens without any sample. */
  pushTogether(entries: readonly PushEntry[]): void {
    const samples = entries.reduce((sum, { view }) => sum + view.samples, 0);
    if (samples === 0) return;
    try {
      const own = entries.filter(({ view }) => view.samples > 0);
      if (own.length === 1) this.#apply(own[0]!, this.#stage(own[0]!.body));
      else this.#applyMerged(own, samples);
    } finally {
      this.scratch.reset();
    }
    this.steps++;
    this.draws++;
    this.enforceLimit();
  }

  /** Bytes of the values of each section, and of the reply. @throws RpcError `malformed`, `refused`, `too large` */
  checkPull({ definition, sections }: PullView): { sizes: number[]; bytes: number } {
    this.expectModel(definition);
    const sizes = sections.map((section, i) => this.#sections.elements(section, i) * wireBytes[section.wire]);
    const bytes = sizes.reduce((sum, size) => sum + Math.ceil(size / 8) * 8, 8);
    if (bytes <= MAX_REPLY_BYTES) return { sizes, bytes };
    throw new RpcError(
      "too large",
      `the pull asks for ${bytes} bytes, at most ${MAX_REPLY_BYTES} fit a reply; pull in parts`,
    );
  }

  /** The reply to a pull: the count of steps, then the values of each section. */
  pull(
    { sections, ...view }: PullView,
    body: Uint8Array,
    { frozen = false, memory = (size: number) => new Uint8Array(size) }: PullOptions = {},
  ): Uint8Array[] {
    const { sizes, bytes } = this.checkPull({ sections, ...view });
    const readOnly = view.readOnly || frozen;
    const reply = memory(bytes);
    new DataView(reply.buffer, reply.byteOffset).setBigUint64(0, BigInt(this.steps), true);
    let at = 8;
    this.#inScratch(body, (base) => {
      for (const [i, section] of sections.entries()) {
        const mark = this.scratch.mark();
        const size = sizes[i]!;
        const values =
          section.kind === "dense"
            ? this.#sections.dense(section).weights
            : this.#pulled(section, base, readOnly, view.readOnly);
        const n = size / wireBytes[section.wire];
        let out = values;
        if (section.wire !== "f32") {
          out = this.scratch.take(size);
          this.converter.fromF32(section.wire, values, n, out);
        }
        reply.set(this.heap.u8(out, size), at);
        const padded = at + Math.ceil(size / 8) * 8;
        reply.fill(0, at + size, padded);
        at = padded;
        this.scratch.release(mark);
      }
    });
    if (!readOnly) this.enforceLimit();
    return [reply];
  }

  /** Overwrites dense weights; optimizer state starts anew. */
  initialise({ view, body }: PushEntry): void {
    this.#inScratch(body, (base) => {
      this.#check({ view, body }, base);
      for (const section of view.sections) {
        if (section.kind === "sparse")
          throw new RpcError("malformed", "initialise: rows of tables start by themselves");
        const part = this.#sections.dense(section);
        part
          .column(undefined)!
          .set(this.heap.f32(this.#sections.values(section, base, section.length), section.length));
        part.resetState();
      }
    });
  }

  /** Memory of rows and dense parameters. */
  get bytes(): number {
    return this.holdings.bytes;
  }

  /** As that of what it holds. */
  enforceLimit(): void {
    this.holdings.enforceLimit();
  }

  dispose(): void {
    this.holdings.dispose();
    this.scratch.dispose();
  }

  #check({ view }: PushEntry, base: number): void {
    const { mode } = this.expectModel(view.definition);
    const bytes = this.#sections.check(view.sections) + LEAST_FREE_BYTES;
    if (!this.holdings.spills && this.heap.capacity - this.heap.liveBytes < bytes) {
      throw new RpcError(
        "full",
        `partition ${this.partition} is full: ${this.heap.liveBytes} of ${this.heap.capacity} bytes in use; use more servers or partitions, a spill folder, or stricter admission`,
      );
    }
    const step = mode === "sync" ? view.step : this.steps;
    for (const section of view.sections) this.#sections.expectFinite(section, base, view, step);
  }

  #apply({ view }: PushEntry, base: number): void {
    const sections = this.#sections;
    for (const section of view.sections) {
      if (section.kind === "dense") {
        sections.dense(section).push(sections.values(section, base, section.length), this.steps);
      } else sections.table(section).push(sections.batch(section, base), this.steps, this.draws >>> 0, view.worker);
    }
  }

  #applyMerged(entries: readonly PushEntry[], samples: number): void {
    const sparse = new Map<string, { table: number; parts: Weighted<SparseGradientBatch>[] }>();
    const dense = new Map<number, Weighted<number>[]>();
    for (const { view, body } of entries) {
      const base = this.#stage(body);
      const share = view.samples / samples;
      for (const section of view.sections) {
        if (section.kind === "dense") {
          const parts = dense.get(section.dense) ?? [];
          dense.set(section.dense, parts);
          parts.push({ batch: this.#sections.values(section, base, section.length), share });
          continue;
        }
        const key = `${section.table}:${section.fields}`;
        const group = sparse.get(key) ?? { table: section.table, parts: [] };
        sparse.set(key, group);
        group.parts.push({ batch: this.#sections.batch(section, base), share });
      }
    }
    const { worker } = entries[0]!.view;
    for (const { table, parts } of sparse.values()) {
      this.tables[table]!.push(this.#merger.sparse(parts), this.steps, this.draws >>> 0, worker);
    }
    for (const [index, parts] of dense) {
      const part = this.dense.get(index)!;
      const values = part.served.rule === "value" ? parts[0]!.batch : this.#merger.dense(parts, part.length);
      part.push(values, this.steps);
    }
  }

  #pulled(
    { table, fields, width, rows: n, keys }: SparseSection,
    base: number,
    readOnly: boolean,
    zeros: boolean,
  ): number {
    const out = this.scratch.take(4 * n * width);
    this.tables[table]!.pull({ fields, width, n, keys: base + keys }, out, readOnly, zeros);
    return out;
  }

  #stage(body: Uint8Array): number {
    const base = this.scratch.take(body.byteLength);
    this.heap.u8(base, body.byteLength).set(body);
    return base;
  }

  #inScratch(body: Uint8Array, work: (base: number) => void): void {
    try {
      work(this.#stage(body));
    } finally {
      this.scratch.reset();
    }
  }
}
