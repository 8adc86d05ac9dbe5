import { gzipSync } from "node:zlib";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { criteo, csv, parquet } from "./dataset.ts";
import { columnOf } from "./layout.ts";
import { openPipeline } from "./pipeline.ts";
import { BatchQueue, EPOCH_END, INTERRUPTED, TIMED_OUT } from "./queue.ts";
import {
  allRows,
  ascending,
  closeAll,
  flights,
  heap,
  lines,
  numbered,
  ROWS,
  rowFiles,
  start,
  take,
  text,
} from "./testing-pipeline.ts";

const { folder, plain, gzip } = rowFiles();
folder.write("more.tsv.gz", gzipSync(text));
afterEach(closeAll);
afterAll(() => folder.dispose());

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

  it("gives trainers the same batches whatever their pace, when they take turns", async () => {
    const dataset = criteo(plain, { batch: 64, shuffle: 7 });
    const dealt: number[][][] = [];
    // Either is ahead of the other by as many batches as its ring has room for.
    for (const taking of [
      [0, 0, 0, 1, 1, 1],
      [1, 1, 0, 0, 0, 1],
    ]) {
      const { queues } = await start(dataset, { trainers: 2, slots: 2, turns: true });
      const sequences: number[][] = [[], []];
      const rows: number[][] = [[], []];
      for (const trainer of taking) {
        const queue = queues[trainer]!;
        const slot = await queue.nextAsync();
        sequences[trainer]!.push(queue.sequence);
        rows[trainer]!.push(...numbered(queue, slot));
        queue.release();
      }
      expect(sequences).toEqual([
        [0, 2, 4],
        [1, 3, 5],
      ]);
      dealt.push(rows);
    }
    expect(dealt[0]).toEqual(dealt[1]);
  });

  it.each(["before", "after"])(
    "lets no trainer wait while another's ring has a slot that was given back %s",
    async (when) => {
      const dataset = criteo(plain, { batch: 64, order: "file" });
      const { queues } = await start(dataset, { trainers: 3 });
      const [full, empty, other] = queues as [BatchQueue, BatchQueue, BatchQueue];
      const giveBack = async (): Promise<void> => {
        await full.nextAsync();
        full.release();
      };
      for (const queue of [empty, other]) expect((await take(queue, numbered, 8)).length).toBe(8);
      if (when === "before") await giveBack();
      const next = empty.nextAsync();
      // Ring 0, whose turn it is, is full: until it is not, nobody gets anything.
      if (when === "after") {
        expect(other.next(20)).toBe(TIMED_OUT);
        await giveBack();
      }
      expect(await next).toBeGreaterThan(0);
      expect(empty.sequence).toBe(25);
    },
  );

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
