// Tables of pairs of words, to find phrases by (word2phrase; Mikolov et al. 2013, arXiv 1310.4546, section 4).
import type { Heap } from "../memory/index.ts";
import { BLOCK_WORDS, type PairsResult } from "./protocol.ts";
import { phraseKernel } from "./word-table.ts";

const SLOT_BYTES = 16;
const FIRST_SLOTS = 4 * BLOCK_WORDS;

/** At most half of the slots are used. */
const roomOf = (mask: number, pairs: number): number => (mask + 1) / 2 - pairs;

/** Counts the pairs of all blocks that `each` hands out. */
export function countPairs(heap: Heap, each: (work: (ids: number) => void) => void): PairsResult {
  const kernel = phraseKernel(heap);
  let table: PairsResult = { slots: heap.alloc(SLOT_BYTES * FIRST_SLOTS), mask: FIRST_SLOTS - 1, pairs: 0 };
  each((ids) => {
    table = withRoom(heap, table, BLOCK_WORDS);
    const { slots, mask, pairs } = table;
    const added = kernel.countPairs(ids, BLOCK_WORDS, slots, mask, roomOf(mask, pairs));
    table = { slots, mask, pairs: pairs + added };
  });
  return table;
}

/** A table with the pairs of both; frees both. */
export function joinPairs(heap: Heap, a: PairsResult, b: PairsResult): PairsResult {
  const [small, large] = a.pairs < b.pairs ? [a, b] : [b, a];
  const { slots, mask, pairs } = withRoom(heap, large, small.pairs);
  const added = phraseKernel(heap).mergePairs(slots, mask, small.slots, small.mask);
  heap.free(small.slots);
  return { slots, mask, pairs: pairs + added };
}

function withRoom(heap: Heap, table: PairsResult, more: number): PairsResult {
  let { mask } = table;
  while (roomOf(mask, table.pairs) < more) mask = 2 * mask + 1;
  if (mask === table.mask) return table;
  const slots = heap.alloc(SLOT_BYTES * (mask + 1));
  phraseKernel(heap).mergePairs(slots, mask, table.slots, table.mask);
  heap.free(table.slots);
  return { slots, mask, pairs: table.pairs };
}

/** Pairs of words that are phrases, [first, second] one after the other. */
export function phrasesOf(
  heap: Heap,
  { slots, mask }: PairsResult,
  counts: Float64Array,
  options: { minCount: number; threshold: number },
): Uint32Array {
  const kernel = phraseKernel(heap);
  const total = counts.reduce((a, b) => a + b, 0);
  const at = heap.alloc(8 * counts.length);
  heap.f64(at, counts.length).set(counts);
  const list = (pointer: number, room: number): number =>
    kernel.phrasesOf(slots, mask, at, options.minCount, total, options.threshold, pointer, room);
  const found = list(at, 0);
  const pointer = heap.alloc(8 * found);
  list(pointer, found);
  const phrases = heap.u32(pointer, 2 * found).slice();
  heap.free(pointer);
  heap.free(at);
  // The table has its own order; the words' is the same in every run.
  const order = Array.from({ length: found }, (_, i) => i).sort(
    (a, b) => phrases[2 * a]! - phrases[2 * b]! || phrases[2 * a + 1]! - phrases[2 * b + 1]!,
  );
  return Uint32Array.from(order.flatMap((i) => [phrases[2 * i]!, phrases[2 * i + 1]!]));
}

/** A table that gives phrase i of `phrases` the number `first` + i; the caller frees its slots. */
export function phraseTable(heap: Heap, phrases: Uint32Array, first: number): { slots: number; mask: number } {
  const count = phrases.length / 2;
  let slotCount = 64;
  while (slotCount < 2 * count) slotCount *= 2;
  const slots = heap.alloc(SLOT_BYTES * slotCount);
  const list = heap.alloc(4 * phrases.length);
  heap.u32(list, phrases.length).set(phrases);
  phraseKernel(heap).enterPhrases(slots, slotCount - 1, list, count, first);
  heap.free(list);
  return { slots, mask: slotCount - 1 };
}
