// Mode `geo` (Geo-SGD): trainers move their own copies of weights and rows; now and then the difference to what servers know
// goes out, divided by the number of workers, and what others have changed comes in.
import { alignUp } from "../../data/layout.ts";
import { type ChangesPosition, decodeChangesReply, encodeChanges, seenNothing } from "../row-messages.ts";
import { definitionOf } from "../spec.ts";
import { Blocks } from "./blocks.ts";
import type { Tools } from "./communicator.ts";
import { CHANGED_ROWS, GeoTable } from "./geo-tables.ts";
import { MAP_ENTRY_BYTES, mapMask, workerKernel } from "./kernel.ts";
import type { Outgoing } from "./outgoing.ts";
import { type PreparedLayout, type PreparedTable, preparedLayout, workerTable } from "./plan.ts";
import { Preparer } from "./preparer.ts";
import type { Taken } from "./run.ts";
import { stopOnFailure } from "./stream.ts";

export async function runGeo(tools: Tools): Promise<void> {
  const geo = new Geo(tools);
  try {
    tools.run.watch();
    await geo.begin();
    await Promise.all([geo.feed(), geo.exchange()].map((work) => stopOnFailure(tools, work)));
  } finally {
    geo.free();
  }
}

/** Ids of a table that trainers have moved, or may have. */
interface Touched {
  readonly table: PreparedTable;
  readonly most: number;
  readonly ids: number;
  readonly map: number;
  readonly mask: number;
  count: number;
}

class Geo {
  readonly #tools: Tools;
  readonly #tables: ReadonlyMap<number, GeoTable>;
  readonly #touched: readonly Touched[];
  readonly #blocks: Blocks;
  readonly #outgoing: Outgoing;
  readonly #newcomers: { readonly layout: PreparedLayout; readonly preparer: Preparer; readonly slot: number };
  readonly #words: number;
  readonly #slot: number;
  #inFlight: Taken[] = [];
  #done = 0;
  #fed = false;

  constructor(tools: Tools) {
    this.#tools = tools;
    const { heap, data, layout } = tools;
    const blocks = new Blocks(heap);
    this.#blocks = blocks;
    this.#tables = new Map(
      layout.tables.map(({ table, most }) => [table, new GeoTable(heap, data.geo!.tables[table]!, most)]),
    );
    this.#touched = layout.tables.map((table) => {
      const { most } = data.gradients.groups.find((group) => group.table === table.table)!;
      const mask = mapMask(most);
      const touched = { table, most, ids: blocks.take(8 * most), map: blocks.take(MAP_ENTRY_BYTES * (mask + 1)), mask };
      return { ...touched, count: 0 };
    });
    let at = 0;
    const lookups = layout.tables.map(({ table, most }) => {
      const ids = at;
      at += alignUp(8 * most);
      return { table, ids, occurrences: most };
    });
    const newcomers = preparedLayout(at, lookups, data.model);
    const wire = data.model.tables[0]?.wire ?? "f32";
    this.#newcomers = {
      layout: newcomers,
      preparer: new Preparer({ heap, model: data.model, layout: newcomers, zeroRows: data.zeroRows, wire }),
      slot: blocks.take(newcomers.bytes),
    };
    this.#words = blocks.take(4 * Math.max(1, ...layout.tables.map(({ most }) => most)));
    this.#slot = blocks.take(data.gradients.bytes);
    this.#outgoing = tools.outgoing();
  }

  free(): void {
    for (const table of this.#tables.values()) table.free();
    this.#newcomers.preparer.free();
    this.#blocks.free();
  }

  /** Asks where changes by others begin, before any row is pulled. */
  async begin(): Promise<void> {
    await this.#receiveAll();
  }

  /** Prepares batches: every id of theirs gets a row here. */
  async feed(): Promise<void> {
    const { run } = this.#tools;
    // Rows are made for one batch after the other: two batches must not pull the same one.
    let last: Promise<void> = Promise.resolve();
    await Promise.all(
      run.prepared.map(async (ring, thread) => {
        for (let taken = await run.take(thread); taken !== undefined; taken = await run.take(thread)) {
          const batch = taken;
          last = last.then(() => this.#prepare(batch));
          await last;
          ring.fill();
        }
        ring.end();
      }),
    );
    this.#fed = true;
    run.wake();
  }

  async #prepare(taken: Taken): Promise<void> {
    const { preparer, heap, layout, data, exchange } = this.#tools;
    preparer.number(taken.address);
    const { layout: own, preparer: newcomers, slot } = this.#newcomers;
    let found = 0;
    for (const [i, place] of layout.tables.entries()) {
      const table = this.#tables.get(place.table)!;
      const count = heap.u32(taken.address + place.starts, data.model.partitions + 1).at(-1)!;
      const into = slot + own.lookups[i]!.ids;
      const missing = table.missing(taken.address + place.ids, count, into);
      // The kernel leaves something behind the last one; id 0 is none.
      heap.u64(into, place.most).fill(0n, missing);
      found += missing;
    }
    if (found > 0) {
      newcomers.number(slot);
      await exchange.pull(newcomers, [slot]);
      for (const place of own.tables) {
        const count = heap.u32(slot + place.starts, data.model.partitions + 1).at(-1)!;
        if (count === 0) continue;
        const { layout: rows, fields } = workerTable(data.model.tables[place.table]!);
        const offsets = fields.map(({ offset }) => offset);
        this.#tables.get(place.table)!.insert(slot + place.ids, count, slot + place.rows, rows.strideBytes, offsets);
      }
    }
    this.#touch(taken.address);
    this.#inFlight.push(taken);
  }

  /** Exchanges with the servers after every so many batches, and at the end. */
  async exchange(): Promise<void> {
    const { run, data } = this.#tools;
    const { every } = data.geo!;
    for (;;) {
      run.check();
      const done = run.prepared.reduce((sum, ring) => sum + ring.emptied, 0) >>> 0;
      const last = run.finished && this.#fed;
      if (last || done - this.#done >= every || this.#full) {
        await this.#round(done);
        if (last) return;
      } else await Promise.race([run.woken(), ...run.prepared.map((ring) => ring.changed())]);
    }
  }

  async #round(done: number): Promise<void> {
    const { heap, data, run, exchange } = this.#tools;
    const { gradients, geo } = data;
    const share = 1 / geo!.workers;
    const kernel = workerKernel(heap);
    const batches = done - this.#done;
    this.#done = done;
    // Trainers may go on with rows of batches that they have not given back before the differences are taken.
    this.#inFlight = this.#inFlight.filter(({ thread, slot }) => !run.prepared[thread]!.isEmptied(slot));
    const counts = heap.u32(this.#slot + gradients.counts, gradients.groups.length);
    for (const [i, group] of gradients.groups.entries()) {
      const touched = this.#touched.find(({ table }) => table.table === group.table)!;
      counts[i] = touched.count;
      heap.u8(this.#slot + group.ids, 8 * touched.count).set(heap.u8(touched.ids, 8 * touched.count));
      this.#tables.get(group.table)!.takeDeltas(touched.ids, touched.count, share, this.#slot + group.values);
      touched.count = 0;
      heap.u8(touched.map, MAP_ENTRY_BYTES * (touched.mask + 1)).fill(0);
    }
    for (const { address } of this.#inFlight) this.#touch(address);
    const moved = gradients.dense.filter(({ gradient }) => gradient >= 0);
    for (const [i, { gradient, length }] of moved.entries()) {
      const { local, old } = geo!.dense[i]!;
      kernel.takeDelta(local, old, length, share, this.#slot + gradient);
    }
    this.#outgoing.merge([{ address: this.#slot, samples: batches }]);
    this.#outgoing.batches = Math.max(1, batches);
    await exchange.pushPull(this.#outgoing, { step: exchange.steps, always: false });
    for (const [i, { weights, length }] of moved.entries()) {
      const { local, old } = geo!.dense[i]!;
      kernel.putFresh(weights, old, length, local);
    }
    await this.#receiveAll();
  }

  async #receiveAll(): Promise<void> {
    const { data, clients } = this.#tools;
    if (data.geo!.workers === 1) return;
    const tables = [...this.#tables.keys()];
    await Promise.all(tables.flatMap((table) => clients.map((_, partition) => this.#receive(table, partition))));
  }

  async #receive(table: number, partition: number): Promise<void> {
    const { clients, data, positions } = this.#tools;
    const own = this.#tables.get(table)!;
    const common = { definition: definitionOf(data.model), worker: data.worker, table, wire: "f32" } as const;
    const fields = own.fields.map((_, i) => i);
    const key = `${table}/${partition}`;
    for (let more = true; more; ) {
      const position: ChangesPosition = positions.get(key) ?? seenNothing;
      const request = encodeChanges({ ...common, fields, maxRows: CHANGED_ROWS, position });
      const reply = decodeChangesReply(await clients[partition]!.call("changes", request));
      if (reply.keys.length > 0) own.receive(reply);
      positions.set(key, reply.position);
      more = reply.more;
    }
  }

  /** Whether another batch might not fit. */
  get #full(): boolean {
    return this.#touched.some(({ table, count, most }) => count + table.most * (1 + this.#inFlight.length) > most);
  }

  #touch(address: number): void {
    const { heap, data } = this.#tools;
    for (const touched of this.#touched) {
      const { table, map, mask, ids } = touched;
      const count = heap.u32(address + table.starts, data.model.partitions + 1).at(-1)!;
      const kernel = workerKernel(heap);
      touched.count = kernel.numbers(address + table.ids, count, map, mask, ids, touched.count, this.#words) >>> 0;
    }
  }
}
