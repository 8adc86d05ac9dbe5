import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { Heap } from "../memory/index.ts";
import { BestScores, ClickModel, randomNumbers } from "./click-model.ts";
import { criteo } from "./dataset.ts";
import { generateCriteo } from "./generate.ts";
import { decodeAll, temporaryFolder } from "./testing.ts";

const heap = Heap.create({ maxBytes: 2 ** 26 });
const folder = temporaryFolder();
afterAll(() => folder.dispose());
const path = (name: string): string => `${folder.path}/${name}`;

describe("generateCriteo", () => {
  it("writes valid rows, the same for the same options, plain or gzip", async () => {
    const rows: number[] = [];
    const first = await generateCriteo({ path: path("a.tsv"), rows: 5000, seed: 3, onProgress: (n) => rows.push(n) });
    const again = await generateCriteo({ path: path("b.tsv.gz"), rows: 5000, seed: 3 });
    const text = readFileSync(path("a.tsv"));
    expect(gunzipSync(readFileSync(path("b.tsv.gz"))).equals(text)).toBe(true);
    expect(first.bytes).toBe(text.length);
    expect({ ...again, path: "", bytes: 0 }).toEqual({ ...first, path: "", bytes: 0 });
    expect(rows).toEqual([4096, 5000]);
    const decoded = await decodeAll(heap, criteo(path("a.tsv")));
    expect(decoded.length).toBe(5000);
    expect(decoded.reduce((sum, row) => sum + (row.label![0] as number), 0)).toBe(first.clicks);
    const other = await generateCriteo({ path: path("c.tsv"), rows: 5000, seed: 4 });
    expect(readFileSync(other.path).equals(text)).toBe(false);
  });

  it("limits the distinct values of a column", async () => {
    await generateCriteo({ path: path("few.tsv"), rows: 2000, maxCardinality: 3 });
    const columns = readFileSync(path("few.tsv"), "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split("\t").slice(14));
    for (let j = 0; j < 26; j++) {
      const values = new Set(columns.map((row) => row[j]).filter((value) => value !== ""));
      expect(values.size).toBeLessThanOrEqual(3);
    }
  });

  it("draws clicks that score as the best scores say", async () => {
    const random = randomNumbers(11);
    const model = new ClickModel(1, random, 1000, 1);
    const best = new BestScores();
    const rows = Array.from({ length: 40_000 }, () => {
      const probability = model.draw();
      best.add(probability);
      return { probability, click: random() < probability };
    });
    rows.sort((a, b) => a.probability - b.probability);
    let below = 0;
    let ordered = 0;
    let loss = 0;
    for (const { probability, click } of rows) {
      if (click) ordered += below;
      else below++;
      loss -= Math.log(click ? probability : 1 - probability);
    }
    const auc = ordered / (below * (rows.length - below));
    expect(Math.abs(auc - best.auc)).toBeLessThan(0.01);
    expect(Math.abs(loss / rows.length - best.logLoss)).toBeLessThan(0.01);
    expect(best.auc).toBeGreaterThan(0.75);
  });

  it("makes clicks random at strength 0", async () => {
    const { bestAuc } = await generateCriteo({ path: path("random.tsv"), rows: 500, strength: 0 });
    expect(bestAuc).toBeCloseTo(0.5, 10);
  });

  it("refuses wrong options and leaves no file behind", async () => {
    await expect(generateCriteo({ path: path("x.tsv"), rows: 0 })).rejects.toThrow("generateCriteo: option rows");
    await expect(generateCriteo({ path: "/nowhere/x.tsv", rows: 1 })).rejects.toThrow("/nowhere/x.tsv");
    const stop = (): never => {
      throw new Error("enough");
    };
    await expect(generateCriteo({ path: path("half.tsv"), rows: 9, onProgress: stop })).rejects.toThrow("enough");
    expect(() => readFileSync(path("half.tsv.part"))).toThrow("ENOENT");
  });
});
