// Where things lie in a table's shared memory, read by the TypeScript side and by the kernels alike. All are byte offsets.
// Words that hold addresses hold them divided, as row handles do, so that 32 bits reach through a heap of 16 GiB.

/** What addresses are divided by, also those of rows. */
export const ADDRESS_UNIT = 16;
/** What the addresses of places for keys are divided by. */
export const KEY_BYTES = 8;

// The control block of a table.
export const SEGMENTS = 0;
export const GROWING = 4;
export const SLABS = 8;
export const SLAB_COUNT = 12;
export const CURSOR = 16;
export const EPOCH = 20;
export const LOCK = 24;
export const STATES = 28;
export const RETIRED = 32;
export const ZERO_ROW = 36;
export const ROWS_LOG2 = 40;
export const STRIDE = 44;
export const SEED = 48;
export const INIT_COUNT = 56;
export const INIT = 64;

// An entry of the row initialiser: what to write where in a new row.
export const INIT_BYTES = 20;
export const INIT_KIND = 0;
export const INIT_OFFSET = 4;
export const INIT_LENGTH = 8;
export const INIT_SCALE = 12;
export const INIT_STREAM = 16;
export const FILL = 0;
export const UNIFORM = 1;
export const NORMAL = 2;

// The state that each attached thread has.
export const NEXT_STATE = 0;
export const IN_USE = 4;
export const ACTIVE_EPOCH = 8;
export const STATUS = 12;
export const SEGMENT = 16;
export const FREE_ROW = 20;
export const FREE_KEY = 24;
export const FREE_COUNT = 28;
export const INSERTED = 32;
export const CLAIM = 36;
export const CLAIMED = 40;
export const TOUCHED = 44;
/** The first removed row, which the next insert takes; 0: none. It holds the next one, and the place of its key. */
export const FREED = 48;
export const STATE_BYTES = 64;

// Why a look-up stopped early.
export const NEEDS_SLAB = 1;
export const NEEDS_GROWTH = 2;
export const STALLED = 3;

// The index: a segment's word is its array's address / 128, and above it the binary logarithm of its slots.
export const SEGMENT_BITS = 8;
export const ARRAY_UNIT = 128;
export const ARRAY_BITS = 27;
/** An array starts with its count of claimed slots, then (once retired) the next retired array and the epoch. */
export const ARRAY_HEADER = 64;
export const ARRAY_COUNT = 0;
export const ARRAY_NEXT = 4;
export const ARRAY_EPOCH = 8;
export const SLOT_BYTES = 16;
/** Slots that a look-up compares at once; an array ends with one such group more, always empty, so that it may look on. */
export const GROUP_BYTES = 64;
/** Keys that a look-up handles together, so that their cache misses overlap. */
export const BLOCK = 32;
/** In place of a row: nothing is or will be here, look in the segment's next array. */
export const MOVED = 1;
/** Rows that a thread takes from a slab at once. */
export const CLAIM_ROWS = 32;
