// The one shared memory of a process: every thread attaches to the same `WebAssembly.Memory`, pointers are byte offsets
// into it. It has its full size from the start: the system commits a page when it is touched, so only used memory costs
// anything, and no thread ever meets an address beyond the size that it knows.
import { Allocator, FIRST_BYTE, UNIT } from "./allocator.ts";
import { adviseHugePages, WORTH_BYTES } from "./huge-pages.ts";
import { type AddressType, maximumPages } from "./kernel-source.ts";

const PAGE = 65536;
const DEFAULT_BYTES = maximumPages.i32 * PAGE;
/** The most that a heap can hold: 16 GiB. */
export const MAX_HEAP_BYTES: number = maximumPages.i64 * PAGE;

export interface HeapOptions {
  /**
   * The most that the heap can hold; default 4 GiB, limit 16 GiB. This costs address space, not memory. Above 4 GiB
   * addresses have 64 bits, and kernels that compute more than they load are slower.
   */
  maxBytes?: number;
}

/** Memories of up to 4 GiB have 32-bit addresses. */
const addressTypeOf = (bytes: number): AddressType => (bytes > maximumPages.i32 * PAGE ? "i64" : "i32");

function newMemory(pages: number, addressType: AddressType): WebAssembly.Memory {
  if (addressType === "i32") return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const count = BigInt(pages);
  return new WebAssembly.Memory({ initial: count, maximum: count, shared: true, address: "i64" });
}

/**
 * The shared heap of a process.
 *
 * @example
 * const heap = Heap.create();
 * const weights = heap.f32(heap.alloc(4 * 1000), 1000);
 * new Worker(url, { workerData: heap.memory }); // there: Heap.attach(workerData)
 */
export class Heap {
  readonly memory: WebAssembly.Memory;
  /** Bytes that the heap can hold in all. */
  readonly capacity: number;
  /** What addresses are in the kernels that work on this heap. In JavaScript they are numbers always. */
  readonly addressType: AddressType;
  readonly #buffer: SharedArrayBuffer;
  readonly #allocator: Allocator;

  private constructor(memory: WebAssembly.Memory) {
    if (!(memory.buffer instanceof SharedArrayBuffer)) throw new TypeError("a heap needs a shared WebAssembly.Memory");
    this.memory = memory;
    this.#buffer = memory.buffer;
    this.capacity = this.#buffer.byteLength;
    this.addressType = addressTypeOf(this.capacity);
    this.#allocator = new Allocator(this.#buffer);
  }

  /** Makes a new heap. @throws when the system refuses the address space. */
  static create(options: HeapOptions = {}): Heap {
    const maxBytes = options.maxBytes ?? DEFAULT_BYTES;
    if (!Number.isInteger(maxBytes) || maxBytes < 2 * FIRST_BYTE || maxBytes > MAX_HEAP_BYTES) {
      throw new RangeError(
        `heap maxBytes must be an integer from ${2 * FIRST_BYTE} to ${MAX_HEAP_BYTES}, got ${maxBytes}`,
      );
    }
    const pages = Math.ceil(maxBytes / PAGE);
    let memory: WebAssembly.Memory;
    try {
      memory = newMemory(pages, addressTypeOf(pages * PAGE));
    } catch (cause) {
      throw new Error(
        `the system refuses ${maxBytes} bytes of address space for the heap; pass a smaller maxBytes or lift \`ulimit -v\``,
        { cause },
      );
    }
    const heap = new Heap(memory);
    heap.#allocator.initialise();
    return heap;
  }

  /** The heap in a memory that any thread made with `Heap.create`. */
  static attach(memory: WebAssembly.Memory): Heap {
    const heap = new Heap(memory);
    if (!heap.#allocator.initialised) {
      throw new Error("this memory holds no heap; attach to the `memory` of a Heap made by Heap.create");
    }
    return heap;
  }

  /** Bytes in live blocks, bookkeeping included. */
  get liveBytes(): number {
    return this.#allocator.liveBytes;
  }

  /**
   * A zeroed block of `bytes` at a multiple of `align` (a power of two; at least 64). Any thread may call.
   * @throws RangeError when no room is left.
   */
  alloc(bytes: number, align: number = UNIT): number {
    if (!Number.isInteger(bytes) || bytes < 0) {
      throw new RangeError(`alloc: bytes must be an integer of at least 0, got ${bytes}`);
    }
    if (!Number.isInteger(align) || align < 1 || align > 2 ** 30 || (align & (align - 1)) !== 0) {
      throw new RangeError(`alloc: align must be a power of two up to 2^30, got ${align}`);
    }
    const block = this.#allocator.take(bytes, align);
    if (block === undefined) {
      throw new RangeError(
        `the heap is full: ${bytes} bytes wanted, ${this.liveBytes} of ${this.capacity} in use; ` +
          "use smaller tables or batches, or raise Heap maxBytes (at most 16 GiB)",
      );
    }
    if (this.#allocator.firstBeyond(WORTH_BYTES)) adviseHugePages(new Uint8Array(this.#buffer));
    if (block.dirty > 0) new Float64Array(this.#buffer, block.pointer, block.dirty / 8).fill(0);
    return block.pointer;
  }

  /** Gives a block back for reuse. @throws RangeError when `pointer` is not a live block of this heap. */
  free(pointer: number): void {
    this.#allocator.give(pointer);
  }

  /** Bytes of a word that holds an address, in data that kernels and JavaScript share; see `addresses`. */
  get addressBytes(): 4 | 8 {
    return this.addressType === "i32" ? 4 : 8;
  }

  /** A view of `length` numbers at byte offset `pointer`. Views are objects: make them when binding, not in each step. */
  f32(pointer: number, length: number): Float32Array<SharedArrayBuffer> {
    this.#check("f32", pointer, length, 4);
    return new Float32Array(this.#buffer, pointer, length);
  }

  /** As `f32`, of float64. */
  f64(pointer: number, length: number): Float64Array<SharedArrayBuffer> {
    this.#check("f64", pointer, length, 8);
    return new Float64Array(this.#buffer, pointer, length);
  }

  /** As `f32`, of bytes. */
  u8(pointer: number, length: number): Uint8Array<SharedArrayBuffer> {
    this.#check("u8", pointer, length, 1);
    return new Uint8Array(this.#buffer, pointer, length);
  }

  /** As `f32`, of signed 32-bit integers. */
  i32(pointer: number, length: number): Int32Array<SharedArrayBuffer> {
    this.#check("i32", pointer, length, 4);
    return new Int32Array(this.#buffer, pointer, length);
  }

  /** As `f32`, of unsigned 32-bit integers. */
  u32(pointer: number, length: number): Uint32Array<SharedArrayBuffer> {
    this.#check("u32", pointer, length, 4);
    return new Uint32Array(this.#buffer, pointer, length);
  }

  /** As `f32`, of words that hold addresses: u32, or f64 where addresses have 64 bits. */
  addresses(pointer: number, length: number): Uint32Array<SharedArrayBuffer> | Float64Array<SharedArrayBuffer> {
    return this.addressType === "i32" ? this.u32(pointer, length) : this.f64(pointer, length);
  }

  /** As `f32`, of unsigned 64-bit integers. */
  u64(pointer: number, length: number): BigUint64Array<SharedArrayBuffer> {
    this.#check("u64", pointer, length, 8);
    return new BigUint64Array(this.#buffer, pointer, length);
  }

  #check(view: string, pointer: number, length: number, bytes: number): void {
    if (!Number.isInteger(pointer) || pointer < 0 || pointer % bytes !== 0) {
      throw new RangeError(`heap.${view}: the pointer must be a multiple of ${bytes}, got ${pointer}`);
    }
    if (!Number.isInteger(length) || length < 0 || pointer + length * bytes > this.capacity) {
      throw new RangeError(
        `heap.${view}: ${length} elements at ${pointer} do not fit in the heap of ${this.capacity} bytes`,
      );
    }
  }
}
