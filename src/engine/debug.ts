// Debugging aids: DEBUG=1 prints a plan's instructions; with DEBUG=2, or the switch `debug.nan` of a strategy, each
// instruction is followed by a look for numbers that are not finite.
import type { Call, Device } from "./device.ts";
import { type Operand, type Plan, written } from "./plan.ts";
import { formatOp, formatType } from "./tensor.ts";

export const debugLevel = (): number => Number(process.env.DEBUG) || 0;

export function printInstructions(plan: Plan): void {
  for (const [index, instruction] of plan.instructions.entries()) {
    console.error(`${String(index).padStart(4)} ${formatOp(instruction)}`);
  }
}

/** An instruction wrote NaN or an infinity. The message names it, its place in the model, the tensor and the element. */
export class NonFiniteError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "NonFiniteError";
  }
}

/**
 * A call that throws a NonFiniteError if what instruction `index` wrote last is not finite. It costs as much as reading
 * the results once.
 */
export function finiteCheck(plan: Plan, index: number, device: Device, addressOf: (operand: Operand) => number): Call {
  const instruction = plan.instructions[index]!;
  const results = written(instruction);
  const addresses = results.map(addressOf);
  return () => {
    for (let i = 0; i < results.length; i++) {
      const at = device.firstNonFinite(addresses[i]!, results[i]!);
      if (at >= 0) throw new NonFiniteError(describe(plan, index, i, at, device, addressOf));
    }
  };
}

function describe(
  plan: Plan,
  index: number,
  result: number,
  at: number,
  device: Device,
  addressOf: (operand: Operand) => number,
): string {
  const instruction = plan.instructions[index]!;
  const { scope = "" } = instruction;
  // Expressions fill screens.
  const { exprs: _, ...attrs } = instruction.attrs;
  const results = written(instruction);
  const operand = results[result]!;
  const found = `instruction #${index}${scope === "" ? "" : ` in ${scope}`} wrote a number that is not finite at element ${at} of its result ${result}${named(plan, operand)}: ${formatOp({ ...instruction, attrs })}`;
  const overwritten = (input: Operand): boolean => results.some((other) => samePlace(other, input));
  const culprit = instruction.inputs.findIndex(
    (input) => !overwritten(input) && device.firstNonFinite(addressOf(input), input) >= 0,
  );
  if (culprit < 0)
    return `${found}; its inputs are finite: look at the learning rate and at divisions, logarithms and powers there`;
  const input = instruction.inputs[culprit]!;
  return `${found}; its input ${culprit}${named(plan, input)}, ${formatType(input)}, came so from outside of the step: look at the batch, or at what wrote the parameter`;
}

const samePlace = (a: Operand, b: Operand): boolean => a.space === b.space && a.offset === b.offset;

/** The name of an input, output or parameter of the plan that lies there, in brackets. */
function named(plan: Plan, operand: Operand): string {
  for (const [what, operands] of [
    ["parameter", plan.parameters],
    ["input", plan.inputs],
    ["output", plan.outputs],
  ] as const) {
    for (const [name, other] of Object.entries(operands)) if (samePlace(operand, other)) return ` (${what} ${name})`;
  }
  return "";
}
