// A table of a saved model as one file for other programs, written front to back: Parquet or safetensors.
import { open } from "node:fs/promises";
import { replaceFile, type TableChunk, writeTableFile } from "../../checkpoint/index.ts";
import { ParquetWriter } from "../../parquet/index.ts";
import type { SaveMode } from "../requests.ts";
import { deltasOf, overlaidRows } from "./overlay.ts";
import type { SavedTables } from "./parts.ts";
import { chosenColumns, countRows, lengthOf, readRows } from "./rows.ts";
import { defaultSaveRules, type SaveRules } from "./save-rules.ts";

export const tableFormats = ["parquet", "safetensors"] as const;
export type TableFormat = (typeof tableFormats)[number];

export interface ExportOptions {
  /** Default: the only one. */
  readonly table?: string;
  readonly file: string;
  readonly format: TableFormat;
  readonly mode?: SaveMode;
  readonly rules?: Partial<SaveRules>;
  /** Saves or exports of mode `delta`, oldest first: their rows take the place of those before, or join them. */
  readonly deltas?: readonly SavedTables[];
  /** Names of columns; default: the weights of all fields. */
  readonly columns?: readonly string[];
  /** Rows that have been looked at, of those of the table. */
  readonly onProgress?: (rows: number, of: number) => void;
}

export interface Exported {
  readonly table: string;
  readonly rows: number;
  readonly columns: readonly string[];
}

const CREATED_BY = "flotilla";

/**
 * Writes rows of a table with their ids. Parquet has a column `key` of unsigned 64-bit numbers, plain numbers for columns of
 * one number a row and lists for others; safetensors a tensor `keys` U64 [rows] and F32 [rows, width] per column. A file
 * that was there is replaced when the new one is complete.
 * @throws CheckpointError
 */
export async function exportTable(model: SavedTables, options: ExportOptions): Promise<Exported> {
  const { file, format, mode = "all", rules = {}, deltas = [], onProgress } = options;
  if (deltas.length > 0 && mode !== "all") throw new TypeError(`export: deltas are for mode "all", this is "${mode}"`);
  const table = model.table(options.table);
  const columns = chosenColumns(model.path, table, options.columns);
  const request = { mode, columns, rules: { ...defaultSaveRules, ...rules } };
  const layers = deltasOf(table, columns, deltas);
  const chunks = (): AsyncIterable<TableChunk> =>
    layers.length > 0 ? overlaidRows(table, layers, columns) : readRows(model.path, table, request);
  const metadata = { table: table.name, mode };
  let rows = 0;
  if (format === "parquet") {
    await replaceFile(file, async (temporary) => {
      await using handle = await open(temporary, "w");
      const lists = columns.map(({ name, width }) => ({
        ...{ name, type: "f32" as const },
        ...(width === 1 ? {} : { list: width }),
      }));
      const writer = new ParquetWriter(handle, {
        ...{ columns: [{ name: "key", type: "u64" }, ...lists], createdBy: CREATED_BY, metadata },
      });
      for await (const chunk of chunks()) {
        await writer.write(chunk.rows, [chunk.keys, ...chunk.columns]);
        rows += chunk.rows;
        onProgress?.(rows, table.rows);
      }
      await writer.finish();
    });
  } else {
    // The header says how many rows there are, so those that statistics or deltas choose are counted first.
    const total =
      layers.length > 0 ? await lengthOf(overlaidRows(table, layers, [])) : await countRows(model.path, table, request);
    const rowBytes = columns.reduce((sum, { width }) => sum + 4 * width, 8);
    let bytes = 0;
    await writeTableFile(
      file,
      { name: table.name, rows: total, columns, chunks },
      {
        metadata,
        onBytes: (more) => {
          bytes += more;
          onProgress?.(Math.floor(bytes / rowBytes), total);
        },
      },
    );
    rows = total;
  }
  return { table: table.name, rows, columns: columns.map(({ name }) => name) };
}
