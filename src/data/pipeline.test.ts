import { gzipSync } from "node:zlib";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { Heap } from "../memory/index.ts";
import { criteo, csv, type Dataset, parquet } from "./dataset.ts";
import { featureId } from "./feature-hash.ts";
import { columnOf } from "./layout.ts";
import { openPipeline, type Pipeline, type PipelineOptions, type PipelineState } from "./pipeline.ts";
import { BatchQueue, EPOCH_END, INTERRUPTED, TIMED_OUT } from "./queue.ts";
import { numberedLines, temporaryFolder } from "./testing.ts";

const heap = Heap.create({ maxBytes: 2 ** 28 });
const folder = temporaryFolder();
const ROWS = 3000;
const lines = numberedLines(ROWS);
const text = `${lines.join("\n")}\n`;
const plain = folder.write("rows.tsv", text);
folder.write("more.tsv.gz", gzipSync(text));
const gzip = folder.write("rows.tsv.gz", gzipSync(text));
const rowOfId = new Map(lines.map((_, i) => [featureId(0, i.toString(16).padStart(8, "0")), i]));
const flights = "node_modules/vega-datasets/data/flights-3m.parquet";

const open: Pipeline[] = [];
afterEach(async () => {
  for (const pipeline of open.splice(0)) await pipeline.close();
});
afterAll(() => folder.dispose());

async function start(
  dataset: Dataset,
  options?: PipelineOptions,
): Promise<{ pipeline: Pipeline; queues: BatchQueue[] }> {
  const pipeline = await openPipeline(heap, dataset, options);
  open.push(pipeline);
  const queues = Array.from({ length: options?.trainers ?? 1 }, (_, t) => BatchQueue.attach(heap, pipeline.handle, t));
  return { pipeline, queues };
}

/** What identifies the rows of the queue's current batch. */
type Keys = (queue: BatchQueue, slot: number) => number[];

const numbered: Keys = (queue, slot) => {
  const { offset, width } = columnOf(queue.layout, "categorical");
  const ids = heap.u64(slot + offset, queue.layout.batch * width);
  return Array.from({ length: queue.rows }, (_, row) => rowOfId.get(ids[row * width]!) ?? -1);
};

/** Takes up to `most` batches; the keys of each. */
async function take(queue: BatchQueue, keys: Keys, most = Number.POSITIVE_INFINITY): Promise<number[][]> {
  const batches: number[][] = [];
  while (batches.length < most) {
    const slot = await queue.nextAsync();
    if (slot <= 0) break;
    batches.push(keys(queue, slot));
    queue.release();
  }
  return batches;
}

const allRows = Array.from({ length: ROWS }, (_, i) => i);
const ascending = (a: number, b: number): number => a - b;

describe("a pipeline", () => {
  it("delivers every row once, in file order to trainers in turn", async () => {
    const { pipeline, queues } = await start(criteo(plain, { batch: 64, order: "file" }), { trainers: 3 });
    const batches = await Promise.all(queues.map((queue) => take(queue, numbered)));
    await pipeline.finished;
    const dealt = batches[0]!.flatMap((_, i) => batches.map((own) => own[i] ?? [])).flat();
    expect(dealt).toEqual(allRows);
    expect(pipeline.progress()).toEqual({
      rows: ROWS,
      estimatedRows: ROWS,
      bytes: text.length,
      totalBytes: text.length,
    });
  });

  it("delivers every row once with several readers, shuffled alike by the same seed and epoch", async () => {
    const dataset = criteo(plain, { batch: 50, shuffle: 7 });
    const orders: number[][] = [];
    for (const options of [{ epoch: 1 }, { epoch: 1 }, { epoch: 2 }, { epoch: 1, readers: 3, trainers: 2 }]) {
      const { queues } = await start(dataset, options);
      orders.push((await Promise.all(queues.map((queue) => take(queue, numbered)))).flat(2));
    }
    for (const order of orders) expect(order.toSorted(ascending)).toEqual(allRows);
    expect(orders[0]).toEqual(orders[1]);
    expect(orders[0]).not.toEqual(orders[2]);
    expect(orders[0]).not.toEqual(allRows);
  });

  it("pads the last batch with weight 0", async () => {
    const { queues } = await start(criteo(plain, { batch: 512, order: "file" }), { slots: 1 });
    const queue = queues[0]!;
    const weight = columnOf(queue.layout, "weight").offset;
    const weights: number[] = [];
    for (let slot = await queue.nextAsync(); slot > 0; slot = await queue.nextAsync()) {
      expect(queue.sequence).toBe(weights.length);
      weights.push(heap.f32(slot + weight, 512).reduce((sum, w) => sum + w, 0));
      expect(weights.at(-1)).toBe(queue.rows);
      if (queue.rows < 512) {
        const { offset, width } = columnOf(queue.layout, "categorical");
        expect(
          heap.u64(slot + offset + 8 * width * queue.rows, width * (512 - queue.rows)).every((id) => id === 0n),
        ).toBe(true);
      }
      queue.release();
    }
    expect(weights).toEqual([512, 512, 512, 512, 512, 440]);
  });

  it("reads globs, gzip beside plain files, and a job's share", async () => {
    const dataset = criteo([`${folder.path}/rows.*`, `${folder.path}/mor?.tsv.gz`, plain], { batch: 256 });
    const counts: number[] = [];
    for (const rank of [0, 1]) {
      const { queues } = await start(dataset.shard({ rank, worldSize: 2 }));
      counts.push((await take(queues[0]!, numbered)).flat().length);
    }
    expect(counts[0]! + counts[1]!).toBe(3 * ROWS);
    expect(Math.min(...counts)).toBeGreaterThan(ROWS);
  });

  it("answers a timeout and an interrupt", async () => {
    const { pipeline, queues } = await start(criteo(plain, { order: "file" }), { trainers: 2, slots: 1 });
    await pipeline.pause();
    pipeline.continue();
    const queue = queues[1]!;
    expect(await queue.nextAsync()).toBeGreaterThan(0);
    queue.release();
    expect(queue.next(5)).toBe(TIMED_OUT);
    const waiting = queue.nextAsync();
    pipeline.interrupt(1);
    expect(await waiting).toBe(INTERRUPTED);
    expect(queue.next()).toBe(INTERRUPTED);
    pipeline.clearInterrupt();
    expect((await Promise.all(queues.map((q) => take(q, numbered)))).flat(2).length).toBe(ROWS - 512);
  });

  it("tells misuse", async () => {
    const { pipeline, queues } = await start(criteo(plain));
    expect(() => BatchQueue.attach(heap, pipeline.handle, 1)).toThrow("trainers 0 to 0, got trainer 1");
    expect(() => queues[0]!.release()).toThrow("no batch is taken");
    expect(() => queues[0]!.rows).toThrow("no batch is taken");
    await queues[0]!.nextAsync();
    expect(() => queues[0]!.next()).toThrow("release() the current batch first");
    expect(() => pipeline.continue()).toThrow("not paused");
    const shuffled = criteo(plain, { order: "file", shuffle: 1 });
    await expect(openPipeline(heap, shuffled)).rejects.toThrow('order "file" keeps the order');
    await expect(openPipeline(heap, criteo(plain), { slots: 0 })).rejects.toThrow("option slots");
  });
});

describe("pausing", () => {
  it("stops at a batch boundary and goes on", async () => {
    const { pipeline, queues } = await start(criteo(plain, { batch: 32, readers: 2 }), { slots: 4 });
    const before = await take(queues[0]!, numbered, 3);
    await pipeline.pause();
    const drained = await take(queues[0]!, numbered);
    expect(queues[0]!.paused).toBe(true);
    pipeline.continue();
    const after = await take(queues[0]!, numbered);
    expect([...before, ...drained, ...after].flat().toSorted(ascending)).toEqual(allRows);
    expect(() => pipeline.state()).not.toThrow();
  });

  const words = folder.write("words.csv", `n,w\n${lines.map((_, i) => `${i},"w ${i}"`).join("\n")}`);
  const csvKeys: Keys = (queue, slot) => [...heap.f32(slot + columnOf(queue.layout, "dense").offset, queue.rows)];
  const parquetRows = 60_000;
  const parquetDataset = parquet(flights, {
    batch: 1000,
    schema: { dense: [{ column: "distance" }, { column: "delay" }] },
  }).where({ rows: { from: 0.9, to: 0.92 } });
  const parquetKeys: Keys = (queue, slot) => {
    const dense = heap.f32(slot + columnOf(queue.layout, "dense").offset, 2 * queue.rows);
    return Array.from({ length: queue.rows }, (_, i) => dense[2 * i]! * 10_000 + dense[2 * i + 1]!);
  };

  it.each<[string, Dataset, Keys, number]>([
    ["text, any order", criteo(plain, { batch: 40, shuffle: 3, shuffleWindow: 0, readers: 2 }), numbered, ROWS],
    ["text, file order", criteo(plain, { batch: 40, order: "file" }), numbered, ROWS],
    ["gzip, any order", criteo(gzip, { batch: 40 }), numbered, ROWS],
    ["gzip, file order", criteo(gzip, { batch: 40, order: "file" }), numbered, ROWS],
    [
      "CSV with a filter",
      csv(words, { batch: 40, schema: { dense: ["n"] } }).where({ column: "n", from: 100 }),
      csvKeys,
      ROWS - 100,
    ],
    ["Parquet, any order", parquetDataset.with({ readers: 2 }), parquetKeys, parquetRows],
    ["Parquet, file order", parquetDataset.with({ order: "file" }), parquetKeys, parquetRows],
  ])("resumes with exactly the rows not delivered: %s", async (_, dataset, keys, total) => {
    const options: PipelineOptions = { trainers: 2, slots: 3 };
    const whole = await start(dataset, options);
    const expected = (await Promise.all(whole.queues.map((queue) => take(queue, keys)))).flat(2);
    expect(expected.length).toBe(total);

    let delivered: number[] = [];
    let state: PipelineState | undefined;
    for (const [first, second] of [
      [0, 0],
      [3, 5],
      [1, 0],
      [5, 2],
    ] as const) {
      const { pipeline, queues } = await start(dataset, { ...options, ...(state && { resume: state }) });
      const some = [take(queues[0]!, keys, first), take(queues[1]!, keys, second)];
      delivered = delivered.concat((await Promise.all(some)).flat(2));
      await pipeline.pause();
      // The last ring is emptied in one run and left full in the next.
      if (first === 3) delivered = delivered.concat((await take(queues[1]!, keys)).flat());
      state = JSON.parse(JSON.stringify(pipeline.state())) as PipelineState;
      expect(state.rows).toBe(delivered.length);
    }
    const { pipeline, queues } = await start(dataset, { ...options, ...(state && { resume: state }) });
    delivered = delivered.concat((await Promise.all(queues.map((queue) => take(queue, keys)))).flat(2));
    await pipeline.finished;
    expect(delivered.length).toBe(total);
    expect(delivered.toSorted(ascending)).toEqual(expected.toSorted(ascending));
    expect(pipeline.state().ranges).toEqual([]);
  });

  it("mixes rows in windows, and over a resumption as without it", async () => {
    const dataset = criteo(plain, { batch: 40, shuffle: 3, shuffleWindow: 300 });
    const whole = await start(dataset);
    const expected = (await take(whole.queues[0]!, numbered)).flat();
    expect(expected.toSorted(ascending)).toEqual(allRows);
    const neighbours = expected.filter((row, i) => i > 0 && Math.abs(row - expected[i - 1]!) === 1).length;
    expect(neighbours).toBeLessThan(ROWS / 10);

    const first = await start(dataset);
    const delivered = (await take(first.queues[0]!, numbered, 3)).flat();
    const pausing = first.pipeline.pause();
    // A window of 320 rows that is begun comes to its end.
    delivered.push(...(await take(first.queues[0]!, numbered)).flat());
    await pausing;
    expect(delivered.length % 320).toBe(0);
    expect(delivered.length).toBeLessThan(ROWS);
    const second = await start(dataset, {
      resume: JSON.parse(JSON.stringify(first.pipeline.state())) as PipelineState,
    });
    delivered.push(...(await take(second.queues[0]!, numbered)).flat());
    expect(delivered).toEqual(expected);
  });

  it("keeps file order over a resumption", async () => {
    const dataset = criteo(plain, { batch: 40, order: "file" });
    const first = await start(dataset);
    const before = await take(first.queues[0]!, numbered, 5);
    await first.pipeline.pause();
    const state = first.pipeline.state();
    expect(state.delivered).toBe(5);
    const second = await start(dataset, { resume: state });
    expect([...before, ...(await take(second.queues[0]!, numbered))].flat()).toEqual(allRows);
  });

  it("refuses files that changed or went", async () => {
    const path = folder.write("changing.tsv", text);
    const { pipeline } = await start(criteo(path));
    await pipeline.pause();
    const state = pipeline.state();
    expect(() => JSON.stringify(state)).not.toThrow();
    folder.write("changing.tsv", text.slice(0, -10));
    await expect(openPipeline(heap, criteo(path), { resume: state })).rejects.toThrow(
      /changing.tsv had \d+ bytes .* and has \d+ now/,
    );
    const gone = { ...state, files: [{ path: `${path}.gone`, bytes: 1 }] };
    await expect(openPipeline(heap, criteo(path), { resume: gone })).rejects.toThrow("is gone");
    expect(() => pipeline.continue()).not.toThrow();
    expect(() => pipeline.state()).toThrow("await pause() first");
  });
});

describe("bad data", () => {
  const bad = folder.write("bad.tsv", `${lines.slice(0, 700).join("\n")}\nnonsense\n${text}`);

  it("ends the queues and rejects with file, line and what to do", async () => {
    const { pipeline, queues } = await start(criteo(bad, { batch: 64 }), { trainers: 2 });
    await Promise.all(queues.map((queue) => take(queue, numbered)));
    expect(queues[0]!.failed).toBe(true);
    expect(queues[0]!.next()).toBe(EPOCH_END);
    await expect(pipeline.finished).rejects.toThrow(
      `${bad}:701: column 1 (label): expected 0 or 1, found "nonsense"; mend the line, or pass onBadLine: "skip"`,
    );
    await expect(pipeline.finished).rejects.toMatchObject({ name: "DataError", file: bad, line: 701 });
  });

  it("is skipped, counted and reported five times", async () => {
    const many = folder.write(
      "many.tsv.gz",
      gzipSync(
        lines
          .slice(0, 40)
          .map((line, i) => (i % 4 === 1 ? `x${line}` : line))
          .join("\n"),
      ),
    );
    const { pipeline, queues } = await start(criteo(many, { onBadLine: "skip" }));
    expect((await take(queues[0]!, numbered)).flat().length).toBe(30);
    await pipeline.finished;
    const { count, first } = pipeline.badLines();
    expect([count, first.length]).toEqual([10, 5]);
    expect(first[1]).toMatch(/many.tsv.gz:6: column 1 \(label\)/);
  });

  it("is named when a file is missing or of another kind", async () => {
    await expect(openPipeline(heap, criteo("/nowhere/*.tsv"))).rejects.toThrow('no file matches "/nowhere/*.tsv"');
    await expect(openPipeline(heap, criteo(folder.path))).rejects.toThrow("it is a folder");
    await expect(openPipeline(heap, criteo(flights))).rejects.toThrow("is a Parquet file; read it with data.parquet");
    const schema = { categorical: ["a"] };
    await expect(openPipeline(heap, parquet(plain, { schema }))).rejects.toThrow("is no Parquet file");
    await expect(openPipeline(heap, parquet(flights, { schema }))).rejects.toThrow(
      'has no column "a", which the schema reads; its columns are date, delay',
    );
    await expect(openPipeline(heap, csv(plain, { schema }))).rejects.toThrow('has no column "a"');
    const cutOff = folder.write("cut.parquet", "PAR1 and no more");
    await expect(openPipeline(heap, parquet(cutOff, { schema }))).rejects.toThrow("is cut off or damaged");
    await expect(openPipeline(heap, criteo(gzip).where({ rows: { to: 0.5 } }))).rejects.toThrow(
      "is compressed, so where: { rows }",
    );
  });

  it("leaves no memory behind", async () => {
    const before = heap.liveBytes;
    for (const dataset of [
      criteo(plain),
      criteo(bad),
      csv(plain, { header: false, columns: ["a"], schema: { dense: ["a"] } }),
    ]) {
      const pipeline = await openPipeline(heap, dataset, { readers: 2 });
      await take(BatchQueue.attach(heap, pipeline.handle, 0), () => []);
      await pipeline.close();
      await pipeline.close();
    }
    expect(heap.liveBytes).toBe(before);
  });
});
