// Primitives of oneDNN bound to addresses in the heap. Operands lie as the program has them; where the library wants
// another order, they are reordered into scratch and back, inside the call.
import type { Heap } from "../../../memory/index.ts";
import type { FloatType } from "../../plan.ts";
import type { Activation, Scratch } from "../../provider.ts";
import type { OneDnn } from "./library.ts";
import { Argument, type Descriptor, type Handle, OneDnnError } from "./native.ts";

/** What binding needs: the library of this thread, and the heap with the address of its first byte. */
export interface Runtime {
  readonly library: OneDnn;
  readonly heap: Heap;
  readonly base: bigint;
}

export interface Primitive {
  /** Made when it is first asked for: the library then generates code, which whoever only plans needs not. */
  primitive(): Handle;
  /** The primitive descriptor. */
  readonly descriptor: Handle;
  readonly scratchBytes: number;
}

/** Something that runs on addresses and scratch. */
export interface Implementation<Addresses> {
  readonly scratchBytes: number;
  bind(at: Addresses & Scratch): () => void;
}

/** Where the arguments of a primitive lie: byte addresses by the argument's number. */
export type ArgumentAddresses = Readonly<Record<number, number>>;

/** An operand whose order in memory the library may choose. */
export interface Operand {
  readonly argument: number;
  readonly dims: readonly number[];
  readonly type: FloatType | "u8";
  /** How it lies outside of the call, in elements. */
  readonly strides: readonly number[];
  readonly written: boolean;
}

/** What a primitive may do otherwise than its operands lie. */
export interface Freedom {
  /** Whether the library may choose the order of an operand in memory. */
  isFree(operand: Operand): boolean;
  /** Computes in this type; reorders convert. Default: in the operands' own types. */
  readonly type?: FloatType;
}

/** Operands as they lie. */
export const asTheyLie: Freedom = { isFree: () => false };

export interface PostOps {
  readonly activation?: Activation | undefined;
  readonly accumulate?: boolean | undefined;
}

const EXEC_ARG_BYTES = 16;
const ALIGNMENT = 64;

/** What `make` makes, or undefined where the library has no code for it. */
export function ifOffered<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof OneDnnError) return undefined;
    throw error;
  }
}

/**
 * The primitive whose descriptor `describe` makes, or undefined where the library has none or only code that is not fit for
 * use: reference code (hundreds of times slower), or what `isFit` refuses by its name, e.g. "brgconv:avx512_core".
 */
export function createPrimitive(
  { native, dialect }: OneDnn,
  describe: (attributes: Handle) => Handle,
  { activation, accumulate = false }: PostOps = {},
  isFit: (implementation: string) => boolean = () => true,
): Primitive | undefined {
  const attributes = native.createAttributes();
  try {
    if (activation || accumulate) {
      const postOps = native.createPostOps();
      if (accumulate) dialect.appendSum(postOps);
      if (activation) dialect.appendActivation(postOps, activation);
      native.setPostOps(attributes, postOps);
      native.call("dnnl_post_ops_destroy", ["void*"], postOps);
    }
    const descriptor = ifOffered(() => describe(attributes));
    if (descriptor === undefined) return undefined;
    const implementation = native.implementation(descriptor);
    if (implementation.startsWith("ref") || !isFit(implementation)) {
      native.call("dnnl_primitive_desc_destroy", ["void*"], descriptor);
      return undefined;
    }
    const scratchBytes = native.byteLength(native.memoryDescriptor(descriptor, Argument.scratchpad));
    return { primitive: later(() => native.createPrimitive(descriptor)), descriptor, scratchBytes };
  } finally {
    native.call("dnnl_primitive_attr_destroy", ["void*"], attributes);
  }
}

function later(make: () => Handle): () => Handle {
  let made: Handle | undefined;
  return () => (made ??= make());
}

/** Calls `use` with descriptors of the operands, as far as these are not free. */
export function withDescriptors<T>(
  { dialect }: OneDnn,
  operands: readonly Operand[],
  { isFree, type }: Freedom,
  use: (...descriptors: Descriptor[]) => T,
): T {
  const descriptors = operands.map((operand) =>
    dialect.memory(operand.dims, type ?? operand.type, isFree(operand) ? "any" : operand.strides),
  );
  try {
    return use(...descriptors);
  } finally {
    for (const descriptor of descriptors) dialect.release(descriptor);
  }
}

/**
 * The primitive over `operands` as they lie in the program; other arguments lie as the primitive wants them. Undefined where
 * the library cannot reorder one of them.
 */
export function withReorders(
  runtime: Runtime,
  primitive: Primitive,
  operands: readonly Operand[],
): Implementation<{ arguments: ArgumentAddresses }> | undefined {
  return ifOffered(() => {
    const reordered = operands.flatMap((operand) => {
      const reorder = createReorder(runtime.library, primitive, operand);
      return reorder === undefined ? [] : [{ ...operand, ...reorder }];
    });
    return reordering(runtime, primitive, reordered);
  });
}

interface Reordered extends Operand {
  readonly reorder: Primitive;
  /** In the primitive's order. */
  readonly packedBytes: number;
}

/** Reorders into scratch, the primitive, reorders back. */
function reordering(
  runtime: Runtime,
  primitive: Primitive,
  reordered: readonly Reordered[],
): Implementation<{ arguments: ArgumentAddresses }> {
  let bytes = 0;
  const places = reordered.map((operand) => {
    const place = bytes;
    bytes += roundUp(operand.packedBytes);
    return place;
  });
  const own = Math.max(primitive.scratchBytes, ...reordered.map(({ reorder }) => reorder.scratchBytes));
  return {
    scratchBytes: bytes + own,
    bind({ arguments: addresses, scratch }) {
      const packed: Record<number, number> = { ...addresses };
      reordered.forEach(({ argument }, i) => {
        packed[argument] = scratch + places[i]!;
      });
      const rest = scratch + bytes;
      const calls = (written: boolean): (() => void)[] =>
        reordered
          .filter((operand) => operand.written === written)
          .map(({ argument, reorder }) => {
            const [from, to] = written ? [packed, addresses] : [addresses, packed];
            const ends = { [Argument.source]: from[argument]!, [Argument.destination]: to[argument]! };
            return bindPrimitive(runtime, reorder, ends, rest);
          });
      return sequence([...calls(false), bindPrimitive(runtime, primitive, packed, rest), ...calls(true)]);
    },
  };
}

/** The way between the operand as it lies and as the primitive wants it, or undefined where both are the same. */
function createReorder(
  library: OneDnn,
  { descriptor }: Primitive,
  operand: Operand,
): Pick<Reordered, "reorder" | "packedBytes"> | undefined {
  const { native } = library;
  const packed = native.memoryDescriptor(descriptor, operand.argument);
  return withDescriptors(library, [operand], asTheyLie, (plain) => {
    if (native.equal(plain!, packed)) return undefined;
    const reorder = operand.written ? reorderBetween(library, packed, plain!) : reorderBetween(library, plain!, packed);
    return { reorder, packedBytes: native.byteLength(packed) };
  });
}

/** Copies numbers from one order in memory to another. @throws OneDnnError where the library has no code for it. */
export function reorderBetween({ native, engine }: OneDnn, from: Descriptor, to: Descriptor): Primitive {
  const attributes = native.createAttributes();
  try {
    const types = ["void*", "void*", "void*", "void*", "void*"];
    const descriptor = native.create("dnnl_reorder_primitive_desc_create", types, from, engine, to, engine, attributes);
    const scratchBytes = native.byteLength(native.memoryDescriptor(descriptor, Argument.scratchpad));
    return { primitive: later(() => native.createPrimitive(descriptor)), descriptor, scratchBytes };
  } finally {
    native.call("dnnl_primitive_attr_destroy", ["void*"], attributes);
  }
}

/** Binds a primitive to addresses. Calling it allocates nothing. */
export function bindPrimitive(
  { library, heap, base }: Runtime,
  { primitive: made, descriptor, scratchBytes }: Primitive,
  addresses: ArgumentAddresses,
  scratch: number,
): () => void {
  const { native, engine, stream } = library;
  const primitive = made();
  const operands = Object.entries(addresses).map(([argument, address]): [number, number] => [+argument, address]);
  if (scratchBytes > 0) operands.push([Argument.scratchpad, scratch]);
  const count = operands.length;
  const list = heap.alloc(count * EXEC_ARG_BYTES);
  const words = heap.u64(list, count * 2);
  const memories = operands.map(([argument, address], i) => {
    const layout = native.memoryDescriptor(descriptor, argument);
    const memory = native.createMemory(layout, engine, base + BigInt(address));
    words[2 * i] = BigInt(argument);
    words[2 * i + 1] = memory;
    return memory;
  });
  const { execute } = native;
  const args = base + BigInt(list);
  const run = (): void => {
    const status = execute(primitive, stream, count, args);
    if (status !== 0) throw new OneDnnError("dnnl_primitive_execute", status);
  };
  dropped.register(run, () => {
    for (const memory of memories) native.destroyMemory(memory);
    heap.free(list);
  });
  return run;
}

/** Frees what a bound call holds outside of JavaScript once nobody can call it any more. */
const dropped = new FinalizationRegistry((release: () => void) => release());

/** The calls one after the other. */
export function sequence(calls: readonly (() => void)[]): () => void {
  if (calls.length === 1) return calls[0]!;
  return () => {
    for (let i = 0; i < calls.length; i++) calls[i]!();
  };
}

/** Bytes up to the next multiple of 64. */
export function roundUp(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** Strides of contiguous axes, the last one fastest. */
export function contiguous(dims: readonly number[]): number[] {
  const strides = dims.map(() => 1);
  for (let i = dims.length - 2; i >= 0; i--) strides[i] = strides[i + 1]! * dims[i + 1]!;
  return strides;
}
