// The cpu device: memory is the process's shared heap, calls are WASM kernels and a provider's matmuls, run in place.
import { bindKernels, type KernelFunction } from "../kernels/index.ts";
import { type Heap, instantiate } from "../memory/index.ts";
import type { Table } from "../table/index.ts";
import type { Communication } from "./communication.ts";
import type { Call, Device } from "./device.ts";
import { bindPlan, type Executable } from "./executor.ts";
import { convOps } from "./ops/conv.ts";
import { copyOps } from "./ops/copy.ts";
import { distributedOps } from "./ops/distributed.ts";
import { elementwiseOps } from "./ops/elementwise.ts";
import { embeddingOps } from "./ops/embedding.ts";
import { exchangeOps } from "./ops/exchange.ts";
import { fmOps } from "./ops/fm.ts";
import { matmulOps } from "./ops/matmul.ts";
import { normOps } from "./ops/norm.ts";
import type { BindOp, CpuContext } from "./ops/op.ts";
import { poolOps } from "./ops/pool.ts";
import { recurrentOps } from "./ops/recurrent.ts";
import { scatterOps } from "./ops/scatter.ts";
import { tableOps } from "./ops/table.ts";
import { bytesOf, type Instruction, type Operand } from "./plan.ts";
import type { Prepared } from "./prepare.ts";
import type { Provider } from "./provider.ts";
import { byteLength, check, sizeOf, type TensorType } from "./tensor.ts";

const ops: Readonly<Record<string, BindOp>> = {
  ...elementwiseOps,
  ...matmulOps,
  ...convOps,
  ...normOps,
  ...poolOps,
  ...embeddingOps,
  ...recurrentOps,
  ...copyOps,
  ...fmOps,
  ...tableOps,
  ...scatterOps,
  ...exchangeOps,
  ...distributedOps,
};

interface FiniteKernels {
  firstNonFinite(address: number, count: number): number;
  firstNonFiniteHalf(address: number, count: number, exponent: number): number;
}

export interface CpuOptions {
  readonly heap: Heap;
  readonly prepared: Prepared;
  readonly provider: Provider;
  /** The tables that the plan names. */
  readonly tables?: Readonly<Record<string, Table>>;
  /** The collectives of a plan that has some. */
  readonly communication?: Communication;
}

/** A thread's cpu: instances of kernels over the heap. */
export class CpuDevice implements Device {
  readonly name = "cpu";
  readonly #context: CpuContext;
  readonly #releases: (() => void)[] = [];
  readonly #kernels: ReadonlyMap<Instruction, readonly KernelFunction[]>;

  constructor({ heap, prepared, provider, tables = {}, communication }: CpuOptions) {
    const { plan, compiled, kernels, rules } = prepared;
    const functions = bindKernels(compiled, heap.memory);
    this.#context = { heap, provider, rules, tables, communication };
    this.#kernels = new Map(plan.instructions.map((key, i) => [key, kernels[i]!.map((index) => functions[index]!)]));
  }

  allocate(bytes: number): number {
    return this.#context.heap.alloc(bytes);
  }

  free(address: number): void {
    this.#context.heap.free(address);
  }

  write(address: number, bytes: Uint8Array): void {
    this.#context.heap.u8(address, bytes.length).set(bytes);
  }

  read(address: number, into: Uint8Array): void {
    into.set(this.#context.heap.u8(address, into.length));
  }

  firstNonFinite(address: number, { shape, dtype }: TensorType): number {
    const { firstNonFinite, firstNonFiniteHalf } = instantiate<FiniteKernels>("finite", this.#context.heap);
    if (dtype === "f32") return firstNonFinite(address, sizeOf(shape));
    if (dtype === "bf16") return firstNonFiniteHalf(address, sizeOf(shape), 0x7f80);
    return dtype === "f16" ? firstNonFiniteHalf(address, sizeOf(shape), 0x7c00) : -1;
  }

  bind(instruction: Instruction, addressOf: (operand: Operand) => number): Call[] {
    const bindOp = Object.hasOwn(ops, instruction.kind) ? ops[instruction.kind] : undefined;
    check(
      instruction,
      bindOp !== undefined,
      `the cpu has no op "${instruction.kind}"; it has ${Object.keys(ops).join(", ")}`,
    );
    // Nothing to compute: kernels need not think of empty tensors.
    if (instruction.outputs.length > 0 && instruction.outputs.every((output) => sizeOf(output.shape) === 0)) return [];
    const kernels = this.#kernels.get(instruction);
    check(instruction, kernels !== undefined, "the instruction is not one of the prepared plan");
    const { scratch } = instruction;
    return bindOp({
      instruction,
      inputs: instruction.inputs.map(addressOf),
      outputs: instruction.outputs.map(addressOf),
      scratch: scratch === undefined ? 0 : addressOf(scratch),
      scratchBytes: scratch === undefined ? 0 : byteLength(scratch),
      kernels,
      context: this.#context,
      onDispose: (release) => this.#releases.push(release),
    });
  }

  dispose(): void {
    for (const release of this.#releases.splice(0)) release();
  }

  synchronize(): void {}
}

export interface BindOptions extends Omit<CpuOptions, "prepared"> {
  /** Address of this thread's arena: `plan.arenaBytes` bytes that no other thread uses. */
  readonly arena: number;
  /** Address of the parameters and optimizer state: `plan.sharedBytes` bytes that all threads see. */
  readonly shared: number;
  /** Address of what ranks exchange: `plan.exchangeBytes` bytes, where the plan has some. */
  readonly exchange?: number;
  /** Stop at the first instruction that writes NaN or an infinity; default where `DEBUG` is 2 or more. */
  readonly checkFinite?: boolean;
}

/**
 * Binds a prepared plan to one thread's arena, in that thread.
 * @throws InstructionError when an instruction cannot run; RangeError when a space does not lie in the heap.
 */
export function bind(prepared: Prepared, options: BindOptions): Executable {
  const { arena, shared, exchange = 0, heap } = options;
  const { plan } = prepared;
  const bases = { arena, shared, exchange };
  const extents = { arena: plan.arenaBytes, shared: plan.sharedBytes, exchange: plan.exchangeBytes ?? 0 };
  for (const space of ["arena", "shared", "exchange"] as const) {
    if (!Number.isInteger(bases[space]) || bases[space] % 64 !== 0 || bases[space] + extents[space] > heap.capacity) {
      throw new RangeError(
        `bind: ${space} must be the address of ${extents[space]} bytes of the heap, a multiple of 64, got ${bases[space]}`,
      );
    }
  }
  const addressOf = (operand: Operand): number => {
    const end = operand.offset + byteLength(operand);
    if (operand.offset % bytesOf[operand.dtype] !== 0 || operand.offset < 0 || end > extents[operand.space]) {
      throw new RangeError(
        `an operand at ${operand.offset} to ${end} does not lie in the ${extents[operand.space]} bytes of space "${operand.space}"`,
      );
    }
    return bases[operand.space] + operand.offset;
  };
  return bindPlan(plan, new CpuDevice({ ...options, prepared }), addressOf, options);
}
