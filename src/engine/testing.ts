// For tests: single instructions and small plans laid out without a planner, run on the cpu device with a plain provider.
import { readFloats, writeFloats } from "../kernels/half.ts";
import { Heap } from "../memory/index.ts";
import { highHeap } from "../memory/testing.ts";
import { type BindOptions, bind } from "./cpu.ts";
import type { Executable } from "./executor.ts";
import type { DType, Instruction, Operand, Plan } from "./plan.ts";
import { type PrepareOptions, prepare } from "./prepare.ts";
import type { Provider } from "./provider.ts";
import { scratchBytes } from "./scratch.ts";
import { byteLength, sizeOf, type TensorType } from "./tensor.ts";
import { plainProvider } from "./testing-plain.ts";

export { plainProvider } from "./testing-plain.ts";

export interface Tensor extends TensorType {
  readonly data: readonly number[];
}

export const tensor = (shape: readonly number[], data: readonly number[], dtype: DType = "f32"): Tensor => ({
  shape,
  dtype,
  data,
});

export interface OpCase {
  readonly kind: string;
  readonly inputs: readonly Tensor[];
  readonly outputs?: readonly TensorType[];
  readonly attrs?: Readonly<Record<string, unknown>>;
}

/** A plan without reuse of memory: `define` gives operands, `plan` the result. */
export class PlanBuilder {
  readonly #instructions: Instruction[] = [];
  readonly #extents = { arena: 0, shared: 0 };
  readonly #provider: Provider;

  constructor(provider: Provider) {
    this.#provider = provider;
  }

  operand(type: TensorType, space: "arena" | "shared" = "arena"): Operand {
    const offset = this.#extents[space];
    this.#extents[space] += Math.ceil(byteLength(type) / 64) * 64;
    return { space, offset, shape: type.shape, dtype: type.dtype };
  }

  add(kind: string, inputs: readonly Operand[], outputs: readonly Operand[], attrs: Instruction["attrs"] = {}): void {
    const bytes = scratchBytes({ kind, inputs, outputs, attrs }, this.#provider);
    const scratch = this.operand({ shape: [Math.ceil(bytes / 4)], dtype: "u32" });
    this.#instructions.push({ kind, inputs, outputs, attrs, scratch });
  }

  plan(): Plan {
    return {
      instructions: this.#instructions,
      arenaBytes: this.#extents.arena,
      arenaLowerBound: this.#extents.arena,
      sharedBytes: this.#extents.shared,
      inputs: {},
      outputs: {},
      parameters: {},
    };
  }
}

/** A thread's arena and the shared block of a plan in a heap, with access to operands. */
export class Bench {
  readonly heap: Heap;
  readonly executable: Executable;
  readonly arena: number;
  readonly shared: number;

  constructor(plan: Plan, options: PrepareOptions & Partial<BindOptions> & { heap: Heap }) {
    this.heap = options.heap;
    this.arena = options.arena ?? this.heap.alloc(plan.arenaBytes);
    this.shared = options.shared ?? this.heap.alloc(plan.sharedBytes);
    this.executable = bind(prepare(plan, { addressType: options.heap.addressType, ...options }), {
      provider: plainProvider(this.heap),
      ...options,
      arena: this.arena,
      shared: this.shared,
    });
  }

  write(operand: Operand, data: readonly number[]): void {
    const address = this.#address(operand);
    const { dtype } = operand;
    if (dtype === "bf16" || dtype === "f16") writeFloats(dtype, this.heap.memory.buffer, address, data);
    else if (dtype === "u64") this.heap.u64(address, data.length).set(data.map(BigInt));
    else this.heap[dtype](address, data.length).set(data);
  }

  read(operand: Operand): number[] {
    const address = this.#address(operand);
    const { dtype } = operand;
    const length = sizeOf(operand.shape);
    if (dtype === "bf16" || dtype === "f16") return [...readFloats(dtype, this.heap.memory.buffer, address, length)];
    return Array.from<number | bigint, number>(this.heap[dtype](address, length), Number);
  }

  #address(operand: Operand): number {
    return (operand.space === "arena" ? this.arena : this.shared) + operand.offset;
  }
}

let sharedHeap: Heap | undefined;
let sharedHighHeap: Heap | undefined;

/** One heap for all tests of a process. */
export const testHeap = (): Heap => (sharedHeap ??= Heap.create({ maxBytes: 2 ** 28 }));

interface OpResult {
  readonly outputs: number[][];
  readonly inputs: number[][];
}

/**
 * Runs one instruction and returns its outputs, then its inputs as they are afterwards. Memory around every operand must
 * stay as it was. Unless `options` name a heap it runs twice, the second time on addresses above 4 GiB, where nothing may
 * be different.
 */
export function runOp(op: OpCase, options: Partial<BindOptions> & PrepareOptions = {}): OpResult {
  if (options.heap !== undefined) return runOn(options.heap, op, options);
  const result = runOn(testHeap(), op, options);
  if (options.provider !== undefined) return result;
  sharedHighHeap ??= highHeap();
  const high = runOn(sharedHighHeap, op, options);
  const same = (a: readonly number[], b: readonly number[]): boolean => a.every((x, i) => Object.is(x, b[i]));
  const differs = result.outputs.findIndex((values, i) => !same(values, high.outputs[i]!));
  if (differs >= 0) throw new Error(`output ${differs} of ${op.kind} differs where addresses have 64 bits`);
  return result;
}

function runOn(heap: Heap, op: OpCase, options: Partial<BindOptions> & PrepareOptions): OpResult {
  const provider = options.provider ?? plainProvider(heap);
  const builder = new PlanBuilder(provider);
  const fences: Operand[] = [];
  const fenced = (type: TensorType): Operand => {
    const operand = builder.operand(type);
    const tail = (64 - (byteLength(type) % 64)) % 64;
    const end = operand.offset + byteLength(type);
    fences.push({ ...operand, offset: end, shape: [tail], dtype: "u8" }, builder.operand({ shape: [64], dtype: "u8" }));
    return operand;
  };
  const inputs = op.inputs.map(fenced);
  const outputs = (op.outputs ?? []).map(fenced);
  builder.add(op.kind, inputs, outputs, op.attrs);
  const bench = new Bench(builder.plan(), { ...options, heap, provider });
  for (const [i, input] of inputs.entries()) bench.write(input, op.inputs[i]!.data);
  for (const output of outputs) {
    // NaN in every float type.
    bench.heap.u8(bench.arena + output.offset, byteLength(output)).fill(0xff);
  }
  for (const fence of fences) bench.write(fence, new Array(sizeOf(fence.shape)).fill(0x5e));
  bench.executable.run();
  for (const fence of fences) {
    if (bench.read(fence).some((byte) => byte !== 0x5e))
      throw new Error(`memory beside an operand was written, at ${fence.offset}`);
  }
  const result = { outputs: outputs.map((o) => bench.read(o)), inputs: inputs.map((o) => bench.read(o)) };
  bench.executable.dispose();
  heap.free(bench.arena);
  heap.free(bench.shared);
  return result;
}

/** The largest |actual − expected| / max(1, |expected|). */
export function relativeError(actual: readonly number[], expected: readonly number[]): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  return actual.reduce((worst, x, i) => {
    const y = expected[i]!;
    if (Object.is(x, y) || x === y) return worst;
    const error = Math.abs(x - y) / Math.max(1, Math.abs(y));
    return Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }, 0);
}
