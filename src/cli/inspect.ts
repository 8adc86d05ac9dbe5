// `flotilla inspect`: what a checkpoint holds, and single rows of its tables.
import { dirname } from "node:path";
import type { FileSpec } from "../data/index.ts";
import { type FoundRow, findRows, type SavedTables } from "../ps/saved/index.ts";
import { type Cell, formatBytes, formatNumber, formatTable } from "../report/index.ts";
import { type DataOptions, specOf } from "./data-source.ts";
import { openSaved } from "./export.ts";
import { parseKey } from "./feature-key.ts";
import { isRun, readRunConfig } from "./run-config.ts";

export interface InspectFlags extends Pick<DataOptions, "format" | "schema" | "buckets"> {
  readonly table?: string;
  readonly json?: boolean;
}

/** Numbers of a vector that are shown; --json has all. */
const MOST_SHOWN = 8;

/** Returns 1 where a key has no row. */
export async function inspectCommand(path: string, keys: readonly string[], flags: InspectFlags): Promise<number> {
  await using saved = await openSaved(path);
  if (keys.length === 0) {
    console.log(flags.json ? JSON.stringify(summaryOf(saved), null, 2) : formatSummary(saved));
    return 0;
  }
  const spec = specFor(path, flags);
  const rows = await findRows(
    saved.table(flags.table),
    keys.map((text) => parseKey(text, spec)),
  );
  console.log(
    flags.json ? JSON.stringify(rows.map(plain), null, 2) : rows.map((row, i) => format(row, keys[i]!)).join("\n\n"),
  );
  return rows.every(({ found }) => found) ? 0 : 1;
}

function specFor(path: string, flags: InspectFlags): FileSpec | undefined {
  const given = specOf(flags);
  if (given !== undefined) return given;
  const run = [path, dirname(path)].find(isRun);
  return run === undefined ? undefined : readRunConfig(run)?.data;
}

/** As JSON, with ids as text: they have more digits than numbers there. */
function plain({ key, found, columns, statistics }: FoundRow): object {
  return { key: String(key), found, ...(found && { columns }), ...(statistics && { statistics }) };
}

function format({ key, found, columns, statistics }: FoundRow, text: string): string {
  const title = text === String(key) ? `key ${key}` : `key ${text} = ${key}`;
  const rows: Record<string, Cell>[] = Object.entries(columns).map(([column, values]) => ({
    column,
    values:
      values
        .slice(0, MOST_SHOWN)
        .map((value) => formatNumber(value))
        .join("  ") + (values.length > MOST_SHOWN ? "  …" : ""),
    norm: values.length > 1 ? formatNumber(Math.hypot(...values)) : undefined,
  }));
  for (const [column, value] of Object.entries(statistics ?? {})) rows.push({ column, values: formatNumber(value) });
  if (rows.length === 0) return `${title}: there is no such row`;
  return formatTable(rows, { title: found ? title : `${title}: seen, but not admitted` });
}

function summaryOf({ tables, tensors, checkpoints }: SavedTables): object {
  const [first] = checkpoints;
  return {
    ...{ tool: first!.tool, createdAt: first!.createdAt, parts: checkpoints.length },
    tables: [...tables.values()].map(({ name, rows, columns, hasStatistics: statistics, bytes }) => {
      return { name, rows, columns, statistics, bytes };
    }),
    dense: tensors,
  };
}

function formatSummary(saved: SavedTables): string {
  const { tables, tensors, checkpoints, path } = saved;
  const { tool, createdAt } = checkpoints[0]!;
  const parts = checkpoints.length === 1 ? "" : `, ${checkpoints.length} parts`;
  const title = `${path}: ${tool}, ${createdAt.slice(0, 16).replace("T", " ")}${parts}`;
  const rows = [...tables.values()].map(
    ({ name, rows, columns, hasStatistics, bytes }): Record<string, Cell> => ({
      table: name,
      rows: rows.toLocaleString("en"),
      fields: [
        ...columns.map((column) => (column.width === 1 ? column.name : `${column.name}[${column.width}]`)),
        ...(hasStatistics ? ["statistics"] : []),
      ].join(", "),
      size: formatBytes(bytes),
    }),
  );
  const dense = {
    table: "dense",
    rows: undefined,
    fields: `${tensors.count} tensors`,
    size: formatBytes(tensors.bytes),
  };
  return formatTable([...rows, ...(tensors.count > 0 ? [dense] : [])], { title });
}
