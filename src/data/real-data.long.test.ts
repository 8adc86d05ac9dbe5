// Real click-like data, where the machine has it (FLOTILLA_SHARED_DATA, or a folder beside the repository).
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { Heap } from "../memory/index.ts";
import { criteo, csv } from "./dataset.ts";
import type { BadLine } from "./errors.ts";
import { featureId } from "./feature-hash.ts";
import { decodeAll, temporaryFolder } from "./testing.ts";

const shared = process.env.FLOTILLA_SHARED_DATA ?? join(import.meta.dirname, "../../../shared/data");
const heap = Heap.create({ maxBytes: 2 ** 26 });
const folder = temporaryFolder();
afterAll(() => folder.dispose());
const linesOf = (path: string): string[] => readFileSync(join(shared, path), "utf8").trimEnd().split("\n");

describe.skipIf(!existsSync(shared))("real data", () => {
  it("of the Criteo challenge parses as a naive parser does", async () => {
    const rows = await decodeAll(heap, criteo(join(shared, "criteo/*.tsv")));
    const lines = [...linesOf("criteo/test.tsv"), ...linesOf("criteo/train.tsv")];
    expect(rows.length).toBe(10_000);
    lines.forEach((line, i) => {
      const fields = line.split("\t");
      expect(rows[i]!.label).toEqual([Number(fields[0])]);
      expect(rows[i]!.categorical).toEqual(fields.slice(14).map((value, j) => featureId(j, value)));
      fields.slice(1, 14).forEach((value, j) => {
        const expected = Math.log1p(Math.max(0, Number(value)));
        expect(Math.abs((rows[i]!.dense![j] as number) - expected)).toBeLessThan(2e-6);
      });
    });
  });

  it("of the census parses, its one odd line apart", async () => {
    const columns =
      "age workclass weight education years marital occupation relationship race sex gain loss hours country income";
    const dataset = csv(join(shared, "census/adult.*t*"), {
      header: false,
      columns: columns.split(" "),
      trim: true,
      missing: ["?"],
      schema: {
        label: { column: "income", equals: [">50K", ">50K."] },
        dense: ["age", { column: "gain", transform: "log" }],
        categorical: ["workclass", "occupation", { cross: ["education", "sex"] }],
      },
    });
    const badLines: BadLine[] = [];
    const rows = await decodeAll(heap, dataset, { badLines });
    expect(rows.length).toBe(32_561 + 16_281);
    expect(badLines.map((line) => line.problem)).toEqual(['expected 15 fields, found 1 in "|1x3 Cross validator"']);
    expect(rows.reduce((sum, row) => sum + (row.label![0] as number), 0)).toBe(7841 + 3846);
  });

  it("of MovieLens joins users and films to ratings", async () => {
    const users = new Map(linesOf("movielens/u.user").map((line) => [line.split("|")[0]!, line.split("|")]));
    const films = new Map(linesOf("movielens/u.item").map((line) => [line.split("|")[0]!, line.split("|")]));
    const rows = linesOf("movielens/u.data").map((line) => {
      const [user, film, rating, time] = line.trim().split(/\s+/);
      const [, age, sex, work] = users.get(user!) ?? ["", "", "", ""];
      const genres = (films.get(film!) ?? []).slice(5).flatMap((flag, genre) => (flag === "1" ? [genre] : []));
      return [user, film, rating, time, age, sex, work, genres.join(" ")].join(",");
    });
    const path = folder.write("ratings.csv", `user,film,rating,time,age,sex,work,genres\n${rows.join("\n")}\n`);
    const dataset = csv(path, {
      schema: {
        label: { column: "rating", greaterOrEqual: 4 },
        derived: { hour: { column: "time", part: "hour", unit: "s" } },
        categorical: ["user", "film", "sex", "work", "hour", { column: "age", bucketize: [18, 25, 35, 50] }],
        bags: { genres: { column: "genres", separator: " ", max: 6 } },
      },
    });
    const decoded = await decodeAll(heap, dataset);
    expect(decoded.length).toBe(rows.length);
    const liked = rows.filter((row) => Number(row.split(",")[2]) >= 4).length;
    expect(decoded.reduce((sum, row) => sum + (row.label![0] as number), 0)).toBe(liked);
    expect(decoded.every((row) => row.genres!.length === 6)).toBe(true);
  });
});
