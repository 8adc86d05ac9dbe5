// The communicator: between the reader's queues, the trainers of a process and the servers. It prepares batches (distinct
// ids, pulled rows), and sends what trainers leave (gradients, merged), in its own thread.
import type { Heap } from "../../memory/index.ts";
import { placeDense } from "../placement.ts";
import type { PartitionClient } from "../requests.ts";
import type { ChangesPosition } from "../row-messages.ts";
import { definitionOf } from "../spec.ts";
import { Exchange } from "./exchange.ts";
import { runGeo } from "./geo.ts";
import { Outgoing } from "./outgoing.ts";
import type { PreparedLayout } from "./plan.ts";
import { Preparer } from "./preparer.ts";
import { type CommunicatorData, isStepwise, type RunRequest } from "./protocol.ts";
import { Run } from "./run.ts";
import { runSteps } from "./steps.ts";
import { feed, runStream } from "./stream.ts";

/** What a run works with. */
export interface Tools {
  readonly clients: readonly PartitionClient[];
  readonly layout: PreparedLayout;
  /** Mode `geo`: how far this worker has seen changes, by table and partition. */
  readonly positions: Map<string, ChangesPosition>;
  readonly data: CommunicatorData;
  readonly heap: Heap;
  readonly exchange: Exchange;
  readonly run: Run;
  readonly preparer: Preparer;
  readonly outgoing: () => Outgoing;
}

export class Communicator {
  readonly #data: CommunicatorData;
  readonly #heap: Heap;
  readonly #exchange: Exchange;
  readonly #clients: readonly PartitionClient[];
  readonly #positions = new Map<string, ChangesPosition>();
  #run: Run | undefined;

  /** @param ahead the same partitions, for rows that are pulled while pushes are under way */
  constructor(
    data: CommunicatorData,
    heap: Heap,
    clients: readonly PartitionClient[],
    ahead: readonly PartitionClient[] = clients,
  ) {
    this.#data = data;
    this.#heap = heap;
    this.#clients = clients;
    const { model, worker, counters, gradients } = data;
    this.#exchange = new Exchange({
      ...{ heap, clients, ahead, worker, counters },
      definition: definitionOf(model),
      pieces: placeDense(model),
      dense: gradients.dense,
    });
  }

  /** Serves the trainers until the pipeline's end; their gradients are then with the servers. */
  async run(request: RunRequest): Promise<void> {
    const { model, gradients, zeroRows, send } = this.#data;
    const wire = model.tables[0]?.wire ?? "f32";
    const run = new Run(this.#heap, request);
    this.#run = run;
    const preparer = new Preparer({ heap: this.#heap, model, layout: request.layout, zeroRows, wire });
    const made: Outgoing[] = [];
    const outgoing = (): Outgoing => {
      // In mode `geo` all batches between two exchanges have one slot, of their size.
      const batches = this.#data.geo === undefined ? Math.max(send.maxMergeGrads, this.#data.threads) : 1;
      const common = { heap: this.#heap, layout: gradients, wire, batches };
      const next = new Outgoing({ ...common, partitions: model.partitions, pieces: placeDense(model) });
      made.push(next);
      return next;
    };
    const tools: Tools = {
      ...{ run, preparer, outgoing, layout: request.layout },
      ...{ data: this.#data, heap: this.#heap, exchange: this.#exchange },
      ...{ clients: this.#clients, positions: this.#positions },
    };
    const work = this.#work(request, tools).finally(() => {
      preparer.free();
      for (const each of made) each.free();
    });
    try {
      // A run that is stopped does not wait for servers; what is under way keeps its memory until they have answered.
      await Promise.race([work, run.failed]);
    } catch (error) {
      run.stop(error as Error);
      throw error;
    } finally {
      this.#run = undefined;
    }
  }

  finish(): void {
    this.#run?.finish();
  }

  stop(reason: string): void {
    this.#run?.stop(new Error(reason));
  }

  #work({ type }: RunRequest, tools: Tools): Promise<void> {
    const { mode } = this.#data.model;
    if (type === "score") return feed(tools, { readOnly: true });
    if (isStepwise(mode)) return runSteps(tools);
    return mode === "geo" ? runGeo(tools) : runStream(tools);
  }

  /** Fetches all dense weights, those without gradients too. */
  async pullDense(): Promise<void> {
    await this.#exchange.pull(undefined, [], { readOnly: true, dense: "all" });
    const { geo, gradients } = this.#data;
    const moved = gradients.dense.filter(({ gradient }) => gradient >= 0);
    for (const [i, { local, old, length }] of (geo?.dense ?? []).entries()) {
      const fresh = this.#heap.f32(moved[i]!.weights, length);
      for (const at of [local, old]) this.#heap.f32(at, length).set(fresh);
    }
  }
}
