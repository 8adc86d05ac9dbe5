// What a cpu op knows when it is bound, and the table of ops that the device looks kinds up in.
import type { KernelFunction } from "../../kernels/index.ts";
import type { Heap } from "../../memory/index.ts";
import type { Table } from "../../table/index.ts";
import type { Communication } from "../communication.ts";
import type { Call } from "../device.ts";
import type { Instruction } from "../plan.ts";
import type { Prepared } from "../prepare.ts";
import type { Provider } from "../provider.ts";

/** What all instructions of a plan share in one thread. */
export interface CpuContext {
  readonly heap: Heap;
  readonly provider: Provider;
  readonly rules: Prepared["rules"];
  readonly tables: Readonly<Record<string, Table>>;
  readonly communication: Communication | undefined;
}

export interface BoundOp {
  readonly instruction: Instruction;
  /** Byte addresses of the operands, and of the scratch memory (0 without). */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly scratch: number;
  readonly scratchBytes: number;
  /** The kernels that were compiled for this instruction. */
  readonly kernels: readonly KernelFunction[];
  readonly context: CpuContext;
  /** Registers what must happen when the calls are needed no more. */
  onDispose(release: () => void): void;
}

export type BindOp = (op: BoundOp) => Call[];

/** A call of `fn` with fixed arguments. */
export const call = (fn: KernelFunction, ...args: number[]): Call => fn.bind(undefined, ...args);
