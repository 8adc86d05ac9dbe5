// The vocabulary of a text: the words that occur often enough, the most frequent first.
import type { Heap } from "../memory/index.ts";
import { UNKNOWN, WordTable } from "./word-table.ts";

export interface Vocabulary {
  readonly words: readonly string[];
  /** How often each occurs in the text. */
  readonly counts: Float64Array;
}

export interface Ranked extends Vocabulary {
  /** The new number of each word as it was numbered before, UNKNOWN where it is left out. */
  readonly numbers: Uint32Array;
  /** Words that are left out though they occur often enough, since they are no valid UTF-8. */
  readonly invalid: number;
}

/** Orders words by count, equal ones by their text, so that the order does not depend on who read what first. */
export function rank(counts: Float64Array, minCount: number, textOf: (word: number) => string | undefined): Ranked {
  const kept: { word: number; text: string; count: number }[] = [];
  let invalid = 0;
  for (const [word, count] of counts.entries()) {
    if (count < minCount) continue;
    const text = textOf(word);
    if (text === undefined) invalid++;
    else kept.push({ word, text, count });
  }
  kept.sort((a, b) => b.count - a.count || (a.text < b.text ? -1 : 1));
  const numbers = new Uint32Array(counts.length).fill(UNKNOWN);
  for (const [number, { word }] of kept.entries()) numbers[word] = number;
  return {
    words: kept.map(({ text }) => text),
    counts: Float64Array.from(kept, ({ count }) => count),
    numbers,
    invalid,
  };
}

/** Merges the tables that threads have filled. `numbers` of each: the address of which word each of its entries became. */
export function mergeTables(heap: Heap, tables: readonly WordTable[]): { merged: WordTable; numbers: number[] } {
  const merged = WordTable.create(heap);
  const numbers = tables.map((table) => {
    const pointer = heap.alloc(4 * table.size);
    merged.add(table, pointer);
    return pointer;
  });
  return { merged, numbers };
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text of an entry; undefined where its bytes are no UTF-8. */
export function textOf(table: WordTable, entry: number): string | undefined {
  try {
    return utf8.decode(table.bytesOf(entry));
  } catch {
    return undefined;
  }
}
