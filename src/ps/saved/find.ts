// Single rows of a saved table by their keys, for people.
import type { SavedTable } from "../../checkpoint/index.ts";
import { partitionOf } from "../placement.ts";
import type { InspectReply } from "../requests.ts";
import type { WholeTable } from "./parts.ts";

export interface FoundRow extends Pick<InspectReply, "found" | "columns" | "statistics"> {
  readonly key: bigint;
}

/** The rows of keys, in their order. Only keys are read to find them, of the partition that has them. */
export async function findRows({ parts, partitioned }: WholeTable, keys: readonly bigint[]): Promise<FoundRow[]> {
  return Promise.all(
    keys.map(async (key) => {
      const own = partitioned ? [parts[partitionOf(key, parts.length)]!] : parts;
      let row: Record<string, number[]> | undefined;
      let statistics: Record<string, number[]> | undefined;
      for (const part of own) {
        row ??= await rowOf(part.rows, key);
        statistics ??= part.statistics && (await rowOf(part.statistics, key));
      }
      const numbers = statistics && Object.entries(statistics).map(([name, [value]]) => [name, value]);
      return {
        ...{ key, found: row !== undefined, columns: row ?? {} },
        ...(numbers === undefined ? {} : { statistics: Object.fromEntries(numbers) }),
      };
    }),
  );
}

async function rowOf(table: SavedTable, key: bigint): Promise<Record<string, number[]> | undefined> {
  let before = 0;
  for await (const { rows, keys } of table.chunks(undefined, { columns: [] })) {
    const at = keys.indexOf(key);
    if (at < 0) {
      before += rows;
      continue;
    }
    const first = before + at;
    for await (const { columns } of table.chunks(1, { first, end: first + 1 })) {
      return Object.fromEntries(table.columns.map(({ name }, i) => [name, [...columns[i]!]]));
    }
  }
  return undefined;
}
