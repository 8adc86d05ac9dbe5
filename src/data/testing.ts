// For tests: rows of a dataset as plain objects, decoded in this thread, and files to decode.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Heap } from "../memory/index.ts";
import type { Dataset } from "./dataset.ts";
import { decoderOf } from "./decoder.ts";
import type { BadLine } from "./errors.ts";
import { expandPatterns, inspect } from "./files.ts";
import type { BatchLayout } from "./layout.ts";
import type { FileRange } from "./ring.ts";
import { planUnits } from "./units.ts";

export type Row = Record<string, number[] | bigint[]>;

/** Rows `from` to `to` of a slot, a list of values for each column. */
export function rowsOf(heap: Heap, layout: BatchLayout, slot: number, rows: number): Row[] {
  return Array.from({ length: rows }, (_, row) => {
    const values: Row = {};
    for (const { name, dtype, offset, width } of layout.columns) {
      const view =
        dtype === "u64" ? heap.u64(slot + offset, layout.batch * width) : heap.f32(slot + offset, layout.batch * width);
      values[name] = [...view.subarray(row * width, (row + 1) * width)] as number[] | bigint[];
    }
    return values;
  });
}

/** Every row of the dataset, without threads. Bad lines go to `badLines`. */
export async function decodeAll(
  heap: Heap,
  dataset: Dataset,
  options: { units?: (files: number) => FileRange[]; badLines?: BadLine[] } = {},
): Promise<Row[]> {
  const { fileSpec: spec, layout } = dataset;
  const files = expandPatterns(spec.patterns).map((path) => inspect(path, spec));
  const slot = heap.alloc(layout.bytes);
  const decoder = (await decoderOf(spec.format))(heap, spec, layout, (line) => {
    if (options.badLines === undefined) throw new Error(`unexpected bad line: ${line.problem}`);
    options.badLines.push(line);
  });
  const rows: Row[] = [];
  for (const unit of options.units?.(files.length) ?? planUnits(files, spec, undefined)) {
    await decoder.open(files[unit.file]!, unit);
    do {
      for (let n = decoder.fill(slot, 0, layout.batch); n > 0; n = decoder.fill(slot, 0, layout.batch)) {
        rows.push(...rowsOf(heap, layout, slot, n));
      }
    } while (await decoder.advance());
    decoder.close();
  }
  decoder.free();
  heap.free(slot);
  return rows;
}

/** A folder that goes when `dispose` is called. */
export function temporaryFolder(): {
  path: string;
  write(name: string, data: string | Uint8Array): string;
  dispose(): void;
} {
  const path = mkdtempSync(join(tmpdir(), "flotilla-data-"));
  return {
    path,
    write(name, data) {
      writeFileSync(join(path, name), data);
      return join(path, name);
    },
    dispose: () => rmSync(path, { recursive: true }),
  };
}

/** Lines of Criteo data whose first category is the row's number. */
export function numberedLines(rows: number, from = 0): string[] {
  return Array.from({ length: rows }, (_, i) => {
    const integers = Array.from({ length: 13 }, (_, j) => (j % 4 === 3 ? "" : String((i * 7 + j) % 50)));
    const categories = Array.from({ length: 25 }, (_, j) =>
      j % 6 === 5 ? "" : ((i % (j + 2)) + 1000 * j).toString(16).padStart(8, "0"),
    );
    const number = (from + i).toString(16).padStart(8, "0");
    return [i % 2, ...integers, number, ...categories].join("\t");
  });
}
