// Memory through which ranks pass messages: for each ordered pair of ranks a ring of slots that one writes and one reads,
// for each rank a doorbell to sleep on and a place to say why it failed. All ranks see the same bytes, at whatever address.

/** A message of the pair is cut into pieces of this size, each a slot. Eight of them stay in a core's cache. */
export const SLOT_BYTES = 65536;
export const SLOTS = 8;

/** Words of a rank's control block. `buffer` says where its data is, `note` what it was asked for. */
export const Control = {
  ...{ doorbell: 0, sleeping: 16, arrivals: 32, buffer: 47 },
  ...{ state: 48, culprit: 49, textBytes: 50, text: 64, note: 448 },
} as const;
const CONTROL_BYTES = 2048;
export const MAX_TEXT_BYTES: number = 4 * (Control.note - Control.text);

/** States of a rank. */
export const State = { running: 0, closed: 1, failed: 2 } as const;

/** Words of a pair's block: pieces written, pieces read, and the length of each slot. */
export const Pair = { head: 0, tail: 16, lengths: 32 } as const;
const PAIR_HEADER_BYTES = 4096;
const PAIR_BYTES = PAIR_HEADER_BYTES + SLOTS * SLOT_BYTES;

/** Bytes in front of the pairs, a multiple of a page. */
const PAGE = 4096;
const frontBytes = (size: number): number => Math.ceil((size * CONTROL_BYTES) / PAGE) * PAGE;

export const windowBytes = (size: number): number => frontBytes(size) + size * size * PAIR_BYTES;
/** Offsets in a window of `size` ranks. */
export const controlAt = (rank: number): number => rank * CONTROL_BYTES;
export const pairAt = (size: number, from: number, to: number): number =>
  frontBytes(size) + (from * size + to) * PAIR_BYTES;
export const slotAt = (pair: number, piece: number): number => pair + PAIR_HEADER_BYTES + (piece % SLOTS) * SLOT_BYTES;
