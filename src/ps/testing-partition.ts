// For tests: small models, partitions in this thread, and a client that speaks in maps.
import { Heap } from "../memory/index.ts";
import { adagrad, type Optimizer, updateRule } from "../optim/index.ts";
import { joinParts } from "./body.ts";
import { decodeStep, encodePull, encodePush, pullReplyOffsets, type SparsePush, type WireType } from "./messages.ts";
import { Partition } from "./partition.ts";
import { decodeJson, encodeJson, type PartitionClient } from "./requests.ts";
import { definitionOf, parseModel, type ServedModel, type ServedModelOptions } from "./spec.ts";
import type { StateOptions } from "./state.ts";

export interface ModelOptions extends Partial<Omit<ServedModelOptions, "tables" | "dense">> {
  readonly optimizer?: Optimizer;
  readonly dims?: readonly number[];
  readonly init?: "uniform" | "zeros";
  /** Further options of the table. */
  readonly table?: Partial<NonNullable<ServedModelOptions["tables"]>[number]>;
  readonly dense?: readonly { readonly name: string; readonly length: number }[];
}

/** One table "ids" with fields "f0", "f1", … and dense parameters, all moved by one optimizer. */
export function testModel(options: ModelOptions = {}): ServedModel {
  const { optimizer = adagrad({ lr: 0.1 }), dims = [4, 1], init = "uniform", table, dense = [], ...rest } = options;
  const { mode = "async" } = rest;
  const slots = mode === "geo" ? [] : updateRule(optimizer, "ps").slots;
  const fields = dims.map((dim, i) => ({ name: `f${i}`, dim, slots: [...slots], init: { kind: init, scale: 0.5 } }));
  const rules = mode === "geo" ? {} : Object.fromEntries(fields.map(({ name }) => [name, { optimizer }]));
  return parseModel({
    mode,
    workers: 1,
    partitions: 1,
    ...rest,
    tables: dims.length === 0 ? [] : [{ spec: { name: "ids", seed: 5, fields }, rules, ...table }],
    dense: dense.map((parameter) => ({ ...parameter, rule: { optimizer } })),
  });
}

export interface PushOptions {
  readonly worker?: number;
  readonly step?: number;
  readonly samples?: number;
  readonly batches?: number;
  readonly fields?: readonly number[];
  readonly wire?: WireType;
  readonly shows?: readonly number[];
  readonly clicks?: readonly number[];
}

/** A worker's view of one partition. */
export class TestClient {
  readonly model: ServedModel;
  readonly client: PartitionClient;
  readonly definition: number;

  constructor(client: PartitionClient, model: ServedModel) {
    this.client = client;
    this.model = model;
    this.definition = definitionOf(model);
  }

  define(): Promise<Uint8Array> {
    return this.client.call("define", encodeJson(this.model));
  }

  target(fields?: readonly number[]): { table: number; fields: readonly number[]; width: number } {
    const all = this.model.tables[0]!.spec.fields;
    const own = fields ?? all.map((_, i) => i);
    return { table: 0, fields: own, width: own.reduce((sum, field) => sum + all[field]!.dim, 0) };
  }

  pushParts(gradients: ReadonlyMap<bigint, readonly number[]>, options: PushOptions = {}): Uint8Array[] {
    const { worker = 0, step = 0, samples = 1, batches = 1, fields, wire = "f32", shows, clicks } = options;
    const numbers = [...gradients.values()].flat();
    const section: SparsePush = {
      ...this.target(fields),
      wire,
      keys: BigUint64Array.from(gradients.keys()),
      values: wire === "f16" ? Float16Array.from(numbers) : Float32Array.from(numbers),
      ...(shows && { shows: Float32Array.from(shows) }),
      ...(clicks && { clicks: Float32Array.from(clicks) }),
    };
    return encodePush({ definition: this.definition, worker, step, samples, batches, sections: [section] });
  }

  /** Returns the steps done. */
  async push(gradients: ReadonlyMap<bigint, readonly number[]>, options: PushOptions = {}): Promise<number> {
    return decodeStep(await this.client.call("push", this.pushParts(gradients, options)))!;
  }

  async pull(
    keys: readonly bigint[],
    options: { fields?: readonly number[]; wire?: WireType; readOnly?: boolean } = {},
  ): Promise<number[][]> {
    const { fields, wire = "f32", readOnly = false } = options;
    const section = { ...this.target(fields), wire, keys: BigUint64Array.from(keys) };
    const sections = [section];
    const reply = await this.client.call(
      "pull",
      encodePull({ definition: this.definition, worker: 0, readOnly, sections }),
    );
    const [at] = pullReplyOffsets(sections).offsets;
    const n = keys.length * section.width;
    const body = joinParts([reply]);
    const numbers = wire === "f16" ? new Float16Array(body.buffer, at, n) : new Float32Array(body.buffer, at, n);
    return keys.map((_, i) => [...numbers.subarray(i * section.width, (i + 1) * section.width)]);
  }

  async json<T>(method: Parameters<PartitionClient["call"]>[0], request: unknown = {}): Promise<T> {
    return decodeJson(await this.client.call(method, encodeJson(request))) as T;
  }
}

/** A partition that serves the model, and a client of it. */
export async function testPartition(
  model: ServedModel,
  options: Partial<StateOptions> & { heap?: Heap } = {},
): Promise<{ partition: Partition; client: TestClient }> {
  const { heap = Heap.create({ maxBytes: 2 ** 28 }), ...rest } = options;
  const partition = new Partition(heap, { partition: 0, ...rest });
  const client = new TestClient(partition.client(), model);
  await client.define();
  return { partition, client };
}
