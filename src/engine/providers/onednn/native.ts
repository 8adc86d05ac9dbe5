// The part of oneDNN's C interface that both of its generations share, typed. Handles are addresses (bigint: cheaper for
// the FFI than numbers), descriptors of memory are pointers to a struct (v2) or handles (v3).
import koffi, { type LibraryHandle } from "koffi";
import type { FloatType } from "../../plan.ts";

export type Handle = bigint;
export type Status = number;

/** A descriptor of memory that we made: a struct (v2) or a handle (v3). */
export type Descriptor = Handle | Uint8Array;

// Values of dnnl_types.h that v2 and v3 agree on.
export const DataType: Readonly<Record<FloatType | "u8", number>> = { f16: 1, bf16: 2, f32: 3, u8: 6 };
export const Propagation = { training: 64, inference: 96, backward: 128 } as const;
export const Algorithm = {
  convolutionDirect: 0x1,
  convolutionWinograd: 0x2,
  poolingMax: 0x1ff,
  poolingAverageWithPadding: 0x2ff,
  poolingAverage: 0x3ff,
} as const;
export const Argument = {
  source: 1,
  destination: 17,
  weights: 33,
  bias: 41,
  mean: 49,
  variance: 50,
  scale: 51,
  shift: 52,
  workspace: 64,
  scratchpad: 80,
  sourceGradient: 129,
  destinationGradient: 145,
  weightsGradient: 161,
  biasGradient: 169,
  scaleGradient: 255,
  shiftGradient: 256,
} as const;
const CPU = 1;
const IN_ORDER = 1;
const SCRATCHPAD_BY_USER = 1;
const QUERY_IMPLEMENTATION = 8;
const QUERY_ARGUMENT = 255;
/** Bits that dnnl_cpu_isa_t has where the processor multiplies bf16 by AVX-512 or AMX instructions. */
const ISA_BF16 = 0xe7;

const STATUS = ["success", "out of memory", "invalid arguments", "unimplemented", "end of list", "runtime error"];

/** A call into oneDNN failed. */
export class OneDnnError extends Error {
  override name = "OneDnnError";
  readonly status: Status;
  constructor(call: string, status: Status) {
    super(`oneDNN: ${call} failed: ${STATUS[status] ?? "unknown"} (status ${status})`);
    this.status = status;
  }
}

/** A row-major matrix product, as `dnnl_sgemm` takes it. */
export type Sgemm = (
  transposeA: number,
  transposeB: number,
  m: number,
  n: number,
  k: number,
  alpha: number,
  a: bigint,
  lda: number,
  b: bigint,
  ldb: number,
  beta: number,
  c: bigint,
  ldc: number,
) => Status;

export type Execute = (primitive: Handle, stream: Handle, count: number, args: Handle) => Status;

export interface Native {
  readonly library: LibraryHandle;
  /** E.g. "3.7.2". */
  readonly version: string;
  readonly major: number;
  readonly sgemm: Sgemm;
  readonly execute: Execute;
  /** Calls a function that returns a status; throws unless it is 0. */
  call(name: string, types: readonly string[], ...values: unknown[]): void;
  /** Calls a function whose first parameter receives a handle, and returns the handle. */
  create(name: string, types: readonly string[], ...values: unknown[]): Handle;
  createEngine(): Handle;
  createStream(engine: Handle): Handle;
  createAttributes(): Handle;
  createPostOps(): Handle;
  setPostOps(attributes: Handle, postOps: Handle): void;
  createPrimitive(descriptor: Handle): Handle;
  createMemory(descriptor: Handle, engine: Handle, address: bigint): Handle;
  destroyMemory(memory: Handle): void;
  /** How a primitive expects one of its arguments to lie; owned by the primitive descriptor. */
  memoryDescriptor(primitiveDescriptor: Handle, argument: number): Handle;
  byteLength(memoryDescriptor: Handle): number;
  equal(a: Descriptor, b: Descriptor): boolean;
  /** Whether the library multiplies bf16 by the processor's own instructions. */
  readonly nativeBf16: boolean;
  /** E.g. "brg:avx512_core"; reference code starts with "ref". */
  implementation(primitiveDescriptor: Handle): string;
}

/** Types the C interface of a loaded library. @throws when a function is missing: then it is no oneDNN 2 or 3. */
export function nativeInterface(library: LibraryHandle): Native {
  const functions = new Map<string, (...values: unknown[]) => unknown>();
  const bind = (name: string, result: string, types: readonly string[]): ((...values: unknown[]) => unknown) => {
    let bound = functions.get(name);
    if (bound === undefined) {
      bound = library.func(name, result, [...types]);
      functions.set(name, bound);
    }
    return bound;
  };
  const call: Native["call"] = (name, types, ...values) => {
    const status = bind(name, "int", types)(...values) as Status;
    if (status !== 0) throw new OneDnnError(name, status);
  };
  const create: Native["create"] = (name, types, ...values) => {
    const handle = new BigUint64Array(1);
    call(name, ["void*", ...types], handle, ...values);
    return handle[0]!;
  };
  const pointer = (name: string, types: readonly string[], ...values: unknown[]): Handle =>
    koffi.address(bind(name, "void*", types)(...values));
  const [major, minor, patch] = koffi.decode(pointer("dnnl_version", []), "int", 3) as number[];
  return {
    library,
    version: `${major}.${minor}.${patch}`,
    major: major!,
    sgemm: library.func("dnnl_sgemm", "int", [
      ...["char", "char", "int64", "int64", "int64", "float", "void*", "int64", "void*", "int64"],
      ...["float", "void*", "int64"],
    ]) as unknown as Sgemm,
    execute: library.func("dnnl_primitive_execute", "int", ["void*", "void*", "int", "void*"]) as unknown as Execute,
    call,
    create,
    createEngine: () => create("dnnl_engine_create", ["int", "size_t"], CPU, 0),
    createStream: (engine) => create("dnnl_stream_create", ["void*", "uint"], engine, IN_ORDER),
    createAttributes() {
      const attributes = create("dnnl_primitive_attr_create", []);
      call("dnnl_primitive_attr_set_scratchpad_mode", ["void*", "int"], attributes, SCRATCHPAD_BY_USER);
      return attributes;
    },
    createPostOps: () => create("dnnl_post_ops_create", []),
    setPostOps: (attributes, postOps) =>
      call("dnnl_primitive_attr_set_post_ops", ["void*", "void*"], attributes, postOps),
    createPrimitive: (descriptor) => create("dnnl_primitive_create", ["void*"], descriptor),
    createMemory: (descriptor, engine, address) =>
      create("dnnl_memory_create", ["void*", "void*", "void*"], descriptor, engine, address),
    destroyMemory: (memory) => call("dnnl_memory_destroy", ["void*"], memory),
    memoryDescriptor: (descriptor, argument) =>
      pointer("dnnl_primitive_desc_query_md", ["void*", "int", "int"], descriptor, QUERY_ARGUMENT, argument),
    byteLength: (descriptor) => Number(bind("dnnl_memory_desc_get_size", "size_t", ["void*"])(descriptor)),
    equal: (a, b) => bind("dnnl_memory_desc_equal", "int", ["void*", "void*"])(a, b) !== 0,
    nativeBf16: ((bind("dnnl_get_effective_cpu_isa", "int", [])() as number) & ISA_BF16) === ISA_BF16,
    implementation(descriptor) {
      const text = new BigUint64Array(1);
      const types = ["void*", "int", "int", "void*"];
      call("dnnl_primitive_desc_query", types, descriptor, QUERY_IMPLEMENTATION, 0, text);
      return koffi.decode.string(text[0]!);
    },
  };
}
