// What the engine runs: a flat list of instructions over planned memory. Plain data, so that one thread plans and every
// trainer thread binds the same plan to its own arena.
import type { FloatType } from "../kernels/half.ts";

export type { FloatType } from "../kernels/half.ts";

/**
 * Element types of tensors. `bf16` and `f16` are ways to store f32 numbers in half the bytes: arithmetic reads them as f32
 * and rounds its results to them, to the nearest, ties to even. `u8` holds small indices (the place of a maximum).
 */
export type DType = FloatType | "i32" | "u32" | "u64" | "u8";

export const bytesOf: Readonly<Record<DType, number>> = { f32: 4, bf16: 2, f16: 2, i32: 4, u32: 4, u64: 8, u8: 1 };

/**
 * Where an operand lies: `arena` offsets start at the trainer's own arena, `shared` ones at the block that all trainers
 * see (parameters, optimizer state), `exchange` ones at what collectives of several ranks work on, from the start of one step to
 * the end of it.
 */
export type Space = "arena" | "shared" | "exchange";

/** A dense row-major tensor. */
export interface Operand {
  readonly space: Space;
  /** Byte offset from the start of the space; a multiple of 64 unless the operand is a view. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly dtype: DType;
}

export interface Instruction {
  /** An op kind of the catalogue in docs/architecture.md. */
  readonly kind: string;
  readonly inputs: readonly Operand[];
  readonly outputs: readonly Operand[];
  /** Bytes that the instruction may use while it runs, in the arena. */
  readonly scratch?: Operand;
  readonly attrs: Readonly<Record<string, unknown>>;
  /** Where in the model it stands, as "layer/3/attention": for messages. */
  readonly scope?: string;
}

/** Of an instruction's operands, or of what stands for them, those that it writes. */
export const writtenOf = <T>(
  { kind, attrs }: Pick<Instruction, "kind" | "attrs">,
  inputs: readonly T[],
  outputs: readonly T[],
): readonly T[] =>
  kind === "update" ? (attrs.targets as readonly number[]).map((target) => inputs[target]!) : outputs;

/** What an instruction writes. */
export const written = (instruction: Instruction): readonly Operand[] =>
  writtenOf(instruction, instruction.inputs, instruction.outputs);

export interface Plan {
  readonly instructions: readonly Instruction[];
  readonly arenaBytes: number;
  /** The least that any placement needs: the largest sum of live values at one instruction. */
  readonly arenaLowerBound: number;
  readonly sharedBytes: number;
  /** Absent where the plan exchanges nothing. */
  readonly exchangeBytes?: number;
  /** Named tensors: batch inputs, per-step scalars, outputs such as loss and logits. */
  readonly inputs: Readonly<Record<string, Operand>>;
  readonly outputs: Readonly<Record<string, Operand>>;
  readonly parameters: Readonly<Record<string, Operand>>;
}
