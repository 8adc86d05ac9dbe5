// A partition's part of a saved model, in files of the same layout as those of a single process: tables by columns, so that
// any number of partitions, or one process, can load them. Statistics of rows are tables of their own.
import { join } from "node:path";
import {
  openCheckpoint,
  type SavedTable,
  saveCheckpoint,
  type TableChunk,
  type TableSource,
} from "../checkpoint/index.ts";
import { RpcError } from "../net/index.ts";
import { joinParts } from "./body.ts";
import type { SaveMode, SaveReply } from "./requests.ts";
import { decodeRows, type RowChunk } from "./row-messages.ts";
import { type Scans, STATISTICS_OF } from "./scans.ts";
import type { PartitionState } from "./state.ts";

const CHUNK_ROWS = 16384;
/** Behind a table's name: its rows' statistics. */
export const STATISTICS_TABLE = "#statistics";

/** The folder of a partition's part. */
export function partFolder(folder: string, partition: number, partitions: number): string {
  const digits = (n: number): string => String(n).padStart(5, "0");
  return join(folder, `part-${digits(partition + 1)}-of-${digits(partitions)}`);
}

/** Writes the tables and dense pieces. Nothing may change meanwhile. */
export async function savePartition(
  state: PartitionState,
  scans: Scans,
  { folder, mode }: { readonly folder: string; readonly mode: SaveMode },
): Promise<SaveReply> {
  const { partitions } = state.expectModel();
  const open: number[] = [];
  const source = (table: number, statistics: boolean): TableSource => {
    // The statistics first: a scan of mode `delta` or `daily` changes them.
    const { scan, rows, columns } = scans.begin(state.tables, { table, mode: statistics ? "all" : mode, statistics });
    open.push(scan);
    const name = state.tables[table]!.served.spec.name;
    const chunks = function* (): Generator<TableChunk> {
      for (let first = 0; first < rows; first += CHUNK_ROWS) {
        const chunk = decodeRows(joinParts(scans.rows(state.tables, { scan, first, rows: CHUNK_ROWS })));
        yield { rows: chunk.keys.length, keys: chunk.keys, columns: chunk.columns.map(({ values }) => values) };
      }
    };
    return { name: statistics ? `${name}${STATISTICS_TABLE}` : name, rows, columns, chunks };
  };
  try {
    const indices = state.tables.map((_, i) => i);
    const statistics = indices.map((table) => source(table, true)).filter(({ columns }) => columns.length > 0);
    const tables = indices.map((table) => source(table, false));
    const tensors = [...state.dense.values()].flatMap((part) =>
      part.columnNames.map((name, i) => {
        const data = part.column(i === 0 ? undefined : i - 1)!;
        return { name: `${name}@${part.start}`, dtype: "F32" as const, shape: [data.length], data };
      }),
    );
    let bytes = 0;
    await saveCheckpoint(
      partFolder(folder, state.partition, partitions),
      {
        tables: [...tables, ...statistics],
        tensors,
        state: { steps: state.steps, partition: state.partition, partitions },
      },
      {
        onProgress: (progress) => {
          bytes = progress.bytes;
        },
      },
    );
    return { rows: tables.map(({ rows }) => rows), bytes };
  } finally {
    for (const scan of open) scans.end(scan);
  }
}

/** Takes what belongs to this partition out of a checkpoint, of a single process or of any number of partitions. */
export async function loadPartition(state: PartitionState, scans: Scans, folder: string): Promise<{ rows: number }> {
  const { partitions } = state.expectModel();
  const own = { partition: state.partition, partitions };
  await using checkpoint = await openCheckpoint(folder, { verify: false });
  let rows = 0;
  for (const [index, table] of state.tables.entries()) {
    const { name } = table.served.spec;
    const saved = checkpoint.tables.get(name);
    if (saved === undefined) continue;
    const statistics = checkpoint.tables.get(`${name}${STATISTICS_TABLE}`);
    if (statistics !== undefined) rows += await putAll(state, scans, index + STATISTICS_OF, statistics, own);
    rows += await putAll(state, scans, index, saved, own);
  }
  return { rows };
}

async function putAll(
  state: PartitionState,
  scans: Scans,
  table: number,
  saved: SavedTable,
  own: { partition: number; partitions: number },
): Promise<number> {
  const index = table % STATISTICS_OF;
  const before = state.tables[index]!.rows;
  for await (const { keys, columns } of saved.chunks()) {
    const chunk: RowChunk = {
      table,
      keys,
      columns: saved.columns.map(({ width }, i) => ({ width, values: columns[i]! })),
    };
    try {
      scans.put(state.tables, chunk, own);
    } catch (cause) {
      const { message } = cause as Error;
      throw new RpcError("refused", `table "${saved.name}" of the checkpoint does not fit: ${message}`, { cause });
    }
    state.enforceLimit();
  }
  return state.tables[index]!.rows - before;
}
