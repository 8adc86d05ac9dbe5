// A partition's part of a saved model, in files of the same layout as those of a single process: tables by columns, so that
// any number of partitions, or one process, can load them. Statistics of rows are tables of their own.
import {
  openCheckpoint,
  type SavedTable,
  saveCheckpoint,
  type TableChunk,
  type TableSource,
} from "../checkpoint/index.ts";
import { RpcError } from "../net/index.ts";
import { joinParts } from "./body.ts";
import { partFolder, partsIn, partsWithKeysOf } from "./part-folders.ts";
import type { SaveMode, SaveReply } from "./requests.ts";
import { decodeRows, type RowChunk } from "./row-messages.ts";
import { type Scans, STATISTICS_OF } from "./scans.ts";
import type { PartitionState } from "./state.ts";

const CHUNK_ROWS = 16384;
/** Behind a table's name: its rows' statistics. */
export const STATISTICS_TABLE = "#statistics";

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

/**
 * Takes the rows that belong to this partition out of a checkpoint: of a single process, of a partition, or of a folder with
 * the parts of any number of partitions, of which it reads and checks those that have keys of its own.
 */
export async function loadPartition(state: PartitionState, scans: Scans, folder: string): Promise<{ rows: number }> {
  const { partitions } = state.expectModel();
  const own = { partition: state.partition, partitions };
  const parts = partsIn(folder);
  if (parts === undefined) return { rows: await loadRows(state, scans, folder, { ...own, verify: false }) };
  const { first, last } = partsWithKeysOf(own, parts.length);
  let rows = 0;
  for (const part of parts.slice(first, last + 1)) rows += await loadRows(state, scans, part, { ...own, verify: true });
  return { rows };
}

async function loadRows(
  state: PartitionState,
  scans: Scans,
  folder: string,
  { verify, ...own }: { partition: number; partitions: number; verify: boolean },
): Promise<number> {
  await using checkpoint = await openCheckpoint(folder, { verify });
  let rows = 0;
  for (const [index, table] of state.tables.entries()) {
    const { name } = table.served.spec;
    const saved = checkpoint.tables.get(name);
    if (saved === undefined) continue;
    const statistics = checkpoint.tables.get(`${name}${STATISTICS_TABLE}`);
    if (statistics !== undefined) rows += await putAll(state, scans, index + STATISTICS_OF, statistics, own);
    rows += await putAll(state, scans, index, saved, own);
  }
  return rows;
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
