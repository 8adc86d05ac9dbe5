// Debugging aids: DEBUG=1 prints a plan's instructions, DEBUG=2 also looks for numbers that are not finite after each one.
import type { Call, Device } from "./device.ts";
import type { Instruction, Operand, Plan } from "./plan.ts";
import { byteLength, formatOp, sizeOf } from "./tensor.ts";

export const debugLevel = (): number => Number(process.env.DEBUG) || 0;

export function printInstructions(plan: Plan): void {
  for (const [index, instruction] of plan.instructions.entries()) {
    console.error(`${String(index).padStart(4)} ${formatOp(instruction)}`);
  }
}

/** What an instruction writes. */
function written({ kind, inputs, outputs, attrs }: Instruction): readonly Operand[] {
  return kind === "update" ? (attrs.targets as readonly number[]).map((target) => inputs[target]!) : outputs;
}

/**
 * Runs a plan and stops at the first instruction that writes NaN or an infinity. Slow.
 * @throws Error that names the instruction, the operand and the place in it.
 */
export function runChecked(
  plan: Plan,
  device: Device,
  groups: readonly (readonly Call[])[],
  addressOf: (operand: Operand) => number,
): void {
  for (const [index, instruction] of plan.instructions.entries()) {
    for (const call of groups[index]!) call();
    for (const [i, operand] of written(instruction).entries()) {
      if (operand.dtype !== "f32") continue;
      const values = new Float32Array(sizeOf(operand.shape));
      device.read(addressOf(operand), new Uint8Array(values.buffer, 0, byteLength(operand)));
      const at = values.findIndex((value) => !Number.isFinite(value));
      if (at >= 0) {
        throw new Error(
          `instruction #${index} wrote ${values[at]} at element ${at} of its result ${i}: ${formatOp(instruction)}; ` +
            "its inputs were finite, or came from outside: look at the batch, the learning rate and the parameters",
        );
      }
    }
  }
}
