// What the executor asks of a machine that computes. The planner, the passes and the executor know no more than this;
// `cpu` is the first implementation.
import type { Instruction, Operand } from "./plan.ts";
import type { TensorType } from "./tensor.ts";

/** Bound work without arguments. Calling it allocates nothing. */
export type Call = () => void;

export interface Device {
  readonly name: string;
  /** Zeroed memory of the device; addresses are numbers that only the device can follow. */
  allocate(bytes: number): number;
  free(address: number): void;
  /** Copies host bytes into the device's memory. */
  write(address: number, bytes: Uint8Array): void;
  /** Copies from the device's memory, after all work that was started before. */
  read(address: number, into: Uint8Array): void;
  /** The flat index of the first element of a float tensor that is NaN or infinite; −1 where there is none. */
  firstNonFinite(address: number, type: TensorType): number;
  /**
   * Binds an instruction to calls that run or enqueue it, in order.
   * @throws InstructionError when shapes, dtypes or attributes do not fit the op kind.
   */
  bind(instruction: Instruction, addressOf: (operand: Operand) => number): Call[];
  /** Returns when all enqueued calls have run. */
  synchronize(): void;
  /** Frees what binding took. The calls may not be used any more. */
  dispose(): void;
}
