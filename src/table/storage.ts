// The shared memory behind a table: its control block, the directory of row slabs, the index's first arrays, and the
// state that each attached thread has.
import type { Heap } from "../memory/index.ts";
import * as C from "./control.ts";
import { layoutOf, type TableSpec } from "./spec.ts";

/** Exports of table-index.as.ts. */
export interface IndexKernel {
  lookup(control: number, state: number, keys: number, n: number, rows: number, insert: number): number;
  grow(control: number, segment: number, next: number, log2: number): void;
  remove(control: number, state: number, keys: number, rows: number, places: number, n: number): void;
  initial(control: number, keys: number, n: number, rows: number, scratch: number): number;
}

/** Exports of table-rows.as.ts. */
export interface RowsKernel {
  gather(rows: number, n: number, offset: number, dim: number, out: number, stride: number): void;
  put(rows: number, n: number, offset: number, dim: number, values: number, stride: number): void;
  gatherPool(
    rows: number,
    n: number,
    length: number,
    offset: number,
    dim: number,
    out: number,
    stride: number,
    mean: number,
    zeroRow: number,
  ): void;
  collectKeys(places: number, n: number, out: number): number;
}

const SLAB_BYTES = 2 ** 20;
const LEAST_SLOTS_LOG2 = 5;
/** Slots for each expected row: the index grows at three quarters, and segments fill unevenly. */
const SLOTS_PER_ROW = 1.5;

const MASK = 2n ** 64n - 1n;

/** The hash of keys, as in random.as.ts. */
export function mix64(value: bigint): bigint {
  let x = value & MASK;
  x ^= x >> 27n;
  x = (x * 0x3c79ac492ba7b653n) & MASK;
  x ^= x >> 33n;
  x = (x * 0x1c69b3f74ac4ae35n) & MASK;
  return x ^ (x >> 27n);
}

/** Allocates an empty table and returns the address of its control block. @throws RangeError when the heap is full. */
export function createControl(heap: Heap, spec: TableSpec): number {
  const { strideBytes } = layoutOf(spec);
  const taken: number[] = [];
  const take = (bytes: number, align?: number): number => {
    taken.push(heap.alloc(bytes, align));
    return taken.at(-1)!;
  };
  try {
    const init = initialiser(spec);
    const control = take(C.INIT + init.byteLength);
    heap.u8(control + C.INIT, init.byteLength).set(new Uint8Array(init));
    heap.u64(control + C.SEED, 1)[0] = mix64(BigInt(spec.seed) + 0x9e3779b97f4a7c15n);
    const words = heap.u32(control, C.INIT / 4);
    words[C.INIT_COUNT / 4] = init.byteLength / C.INIT_BYTES;
    words[C.STRIDE / 4] = strideBytes;
    const rowsLog2 = Math.max(Math.log2(C.CLAIM_ROWS), Math.floor(Math.log2(SLAB_BYTES / (strideBytes + C.KEY_BYTES))));
    words[C.ROWS_LOG2 / 4] = rowsLog2;
    words[C.SLABS / 4] =
      take(4 * Math.ceil(heap.capacity / ((strideBytes + C.KEY_BYTES) << rowsLog2))) / C.ADDRESS_UNIT;
    words[C.ZERO_ROW / 4] = take(strideBytes) / C.ADDRESS_UNIT;
    words[C.EPOCH / 4] = 1;
    const segments = 1 << C.SEGMENT_BITS;
    words[C.GROWING / 4] = take(4 * segments) / C.ADDRESS_UNIT;
    words[C.SEGMENTS / 4] = take(4 * segments) / C.ADDRESS_UNIT;
    const slots = ((spec.capacity ?? 0) * SLOTS_PER_ROW) / segments;
    const log2 = Math.max(LEAST_SLOTS_LOG2, Math.ceil(Math.log2(Math.max(1, slots))));
    const arrays = heap.u32(words[C.SEGMENTS / 4]! * C.ADDRESS_UNIT, segments);
    for (let i = 0; i < segments; i++) {
      const array = take(arrayBytes(log2), C.ARRAY_UNIT);
      arrays[i] = array / C.ARRAY_UNIT + log2 * 2 ** C.ARRAY_BITS;
    }
    return control;
  } catch (cause) {
    for (const pointer of taken) heap.free(pointer);
    throw new RangeError(`table "${spec.name}" cannot be made: ${(cause as Error).message}`, { cause });
  }
}

/** Bytes of an index array of 2^log2 slots. */
export function arrayBytes(log2: number): number {
  return C.ARRAY_HEADER + 2 ** log2 * C.SLOT_BYTES + C.GROUP_BYTES;
}

/** What a new row holds other than zeros, in the form that the index kernel reads. */
function initialiser(spec: TableSpec): ArrayBuffer {
  const { fields } = layoutOf(spec);
  const entries: [kind: number, offset: number, length: number, scale: number, stream: number][] = [];
  for (const [stream, { name, dim, slots, init }] of spec.fields.entries()) {
    const { offset, slotOffsets } = fields[name]!;
    if (init.kind !== "zeros" && init.scale > 0) {
      entries.push([init.kind === "uniform" ? C.UNIFORM : C.NORMAL, offset, dim, init.scale, stream]);
    }
    for (const [i, slot] of slots.entries()) {
      if (slot.initial !== 0) entries.push([C.FILL, slotOffsets[i]!, slot.perRow ? 1 : dim, slot.initial, 0]);
    }
  }
  const bytes = new ArrayBuffer(entries.length * C.INIT_BYTES);
  const view = new DataView(bytes);
  for (const [i, [kind, offset, length, scale, stream]] of entries.entries()) {
    const entry = i * C.INIT_BYTES;
    view.setInt32(entry + C.INIT_KIND, kind, true);
    view.setUint32(entry + C.INIT_OFFSET, offset, true);
    view.setInt32(entry + C.INIT_LENGTH, length, true);
    view.setFloat32(entry + C.INIT_SCALE, scale, true);
    view.setUint32(entry + C.INIT_STREAM, stream, true);
  }
  return bytes;
}

/** Frees all that belongs to a table. */
export function disposeControl(heap: Heap, control: Uint32Array): void {
  const pointerAt = (words: Uint32Array, offset: number): number => words[offset / 4]! * C.ADDRESS_UNIT;
  const slabs = heap.u32(pointerAt(control, C.SLABS), control[C.SLAB_COUNT / 4]!);
  const segments = heap.u32(pointerAt(control, C.SEGMENTS), 1 << C.SEGMENT_BITS);
  const pointers = [
    ...Array.from(slabs, (word) => word * C.ADDRESS_UNIT),
    ...Array.from(segments, (word) => (word % 2 ** C.ARRAY_BITS) * C.ARRAY_UNIT),
  ];
  for (let array = pointerAt(control, C.RETIRED); array !== 0; ) {
    pointers.push(array);
    array = pointerAt(heap.u32(array, C.ARRAY_HEADER / 4), C.ARRAY_NEXT);
  }
  for (const state of statesOf(heap, control)) pointers.push(state.byteOffset);
  pointers.push(slabs.byteOffset, segments.byteOffset, pointerAt(control, C.GROWING), pointerAt(control, C.ZERO_ROW));
  for (const pointer of [...pointers, control.byteOffset]) heap.free(pointer);
}

/** Places for rows that lie together: byte offsets of their keys, 0 where a place is empty, and of their rows. */
export interface TableSlab {
  readonly keys: number;
  readonly rows: number;
  readonly places: number;
}

export function slabsOf(heap: Heap, control: Uint32Array): TableSlab[] {
  const count = Atomics.load(control, C.SLAB_COUNT / 4);
  const places = 1 << control[C.ROWS_LOG2 / 4]!;
  const words = heap.u32(control[C.SLABS / 4]! * C.ADDRESS_UNIT, count);
  return Array.from(words, (word) => {
    const keys = word * C.ADDRESS_UNIT;
    return { keys, rows: keys + C.KEY_BYTES * places, places };
  });
}

/** A state for a thread that attaches: one that a detached thread left (with the free rows it had), or a new one. */
export function takeState(heap: Heap, control: Uint32Array): Uint32Array {
  for (const state of statesOf(heap, control)) {
    if (Atomics.compareExchange(state, C.IN_USE / 4, 0, 1) === 0) return state;
  }
  const state = heap.u32(heap.alloc(C.STATE_BYTES), C.STATE_BYTES / 4);
  state[C.IN_USE / 4] = 1;
  let head = Atomics.load(control, C.STATES / 4);
  for (;;) {
    state[C.NEXT_STATE / 4] = head;
    const found = Atomics.compareExchange(control, C.STATES / 4, head, state.byteOffset / C.ADDRESS_UNIT);
    if (found === head) return state;
    head = found;
  }
}

/** The states of all threads, also of detached ones. */
export function* statesOf(heap: Heap, control: Uint32Array): Generator<Uint32Array> {
  let word = Atomics.load(control, C.STATES / 4);
  while (word !== 0) {
    const state = heap.u32(word * C.ADDRESS_UNIT, C.STATE_BYTES / 4);
    yield state;
    word = state[C.NEXT_STATE / 4]!;
  }
}
