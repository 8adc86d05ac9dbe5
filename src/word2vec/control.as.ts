// library
// The control block of a training thread: addresses first (see address.as), then numbers. `TrainingThread` in kernel.ts
// writes it.
import { ADDRESS_BYTES, loadAddress } from "../data/address.as";

/** Input vectors [words, stride], those that are kept. */
export const INPUT: usize = 0;
/** Output vectors [words, stride]. */
export const OUTPUT: usize = 1;
/** u32 [words]: a word is kept where a random number lies below. */
export const KEEP: usize = 2;
/** Alias table u64 [words]: threshold in the low half, the other word in the high half. */
export const ALIAS: usize = 3;
/** u8 [words], set for input rows that change; 0 where nobody asks. */
export const TOUCHED_INPUT: usize = 4;
/** The same of output rows. */
export const TOUCHED_OUTPUT: usize = 5;
/** Scratch: words of a sentence, contexts and how often each is there, outputs and their weights, gradients, rows. */
export const SENTENCE: usize = 6;
export const CONTEXTS: usize = 7;
export const OUTPUTS: usize = 8;
export const WEIGHTS: usize = 9;
export const GRADIENTS: usize = 10;
/** A row of zeros, which fills up. */
export const ZERO_ROW: usize = 11;
/** Two more rows. */
export const ROWS: usize = 12;
export const COUNTS: usize = 13;

const NUMBERS: usize = 14 * ADDRESS_BYTES;
export const WORDS: usize = 0;
export const ROW_BYTES: usize = 4;
export const WINDOW: usize = 8;
export const NEGATIVE: usize = 12;
/** State of the random numbers, u64. */
export const RANDOM: usize = 16;

// @ts-ignore: decorator
@inline export function address(control: usize, index: usize): usize {
  return loadAddress(control, index);
}

// @ts-ignore: decorator
@inline export function number(control: usize, offset: usize): u32 {
  return load<u32>(control + NUMBERS + offset);
}

// @ts-ignore: decorator
@inline export function randomState(control: usize): usize {
  return control + NUMBERS + RANDOM;
}
