import { afterAll, afterEach, describe, expect, it } from "vitest";
import { criteo, csv, type Dataset, parquet } from "./dataset.ts";
import { columnOf } from "./layout.ts";
import { openPipeline, type PipelineOptions, type PipelineState } from "./pipeline.ts";
import {
  allRows,
  ascending,
  closeAll,
  flights,
  heap,
  type Keys,
  lines,
  numbered,
  ROWS,
  rowFiles,
  start,
  take,
  text,
} from "./testing-pipeline.ts";

const { folder, plain, gzip } = rowFiles();
afterEach(closeAll);
afterAll(() => folder.dispose());

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

  it("may begin again before the readers have noticed that the last pause is over", async () => {
    const { pipeline, queues } = await start(criteo(plain, { batch: 8, readers: 2 }), { slots: 4 });
    const seen: number[] = [];
    for (let round = 0; round < 50; round++) {
      await pipeline.pause();
      pipeline.continue();
      const pausing = pipeline.pause();
      seen.push(...(await take(queues[0]!, numbered)).flat());
      await pausing;
      pipeline.continue();
    }
    seen.push(...(await take(queues[0]!, numbered)).flat());
    expect(seen.toSorted(ascending)).toEqual(allRows);
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
    // More batches than slots, so that the reader cannot have finished.
    const { pipeline } = await start(criteo(path, { batch: 64 }));
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
