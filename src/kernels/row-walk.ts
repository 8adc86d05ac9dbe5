// One pass along a row that adds it up: how many registers take turns, and when they are emptied.
import { BLOCK } from "./accumulate.ts";
import { overLanes, repeat } from "./loops.ts";
import type { FunctionBuilder } from "./wasm.ts";

/** Registers for a row of `length` elements, `unroll` vectors a turn. */
export const registersOf = (length: number, unroll: number): number => Math.min(unroll, Math.ceil(length / 4));

/** Additions into each of them. */
export const additionsOf = (length: number, unroll: number): number => Math.ceil(length / (4 * unroll));

/**
 * Emits `body(offset, lanes)` and `turn(offsets, lanes)` for a row, as `overLanes` does, with `flush` at the latest after BLOCK additions and at the
 * end if one pass makes more than that. Returns by how many elements the pointers have moved.
 */
export function overRow(
  fn: FunctionBuilder,
  length: number,
  unroll: number,
  step: (elements: number) => void,
  flush: (() => void) | undefined,
  body: (offset: number, lanes: number) => void,
  turn: (offsets: readonly number[], lanes: number) => void,
): number {
  const block = 4 * unroll * BLOCK;
  if (flush === undefined || additionsOf(length, unroll) <= BLOCK)
    return overLanes(fn, length, unroll, step, body, turn);
  const blocks = Math.floor(length / block);
  repeat(fn, blocks, () => {
    step(block - overLanes(fn, block, unroll, step, body, turn));
    flush();
  });
  const rest = overLanes(fn, length - blocks * block, unroll, step, body, turn);
  flush();
  return blocks * block + rest;
}
