// A checker of plans for tests, independent of the planner: it plays the program over tagged memory and demands that
// each operand still holds the value that it stands for.
import type { Operand, Plan } from "../engine/plan.ts";
import type { Program, ValueId } from "./ir.ts";
import { byteLength, overwritable, viewOffset } from "./liveness.ts";

interface Tag {
  readonly value: ValueId;
  /** Which 4 bytes of the value. */
  readonly word: number;
}

/** @throws Error naming the instruction and the value where memory was overwritten too early */
export function checkPlan(program: Program, plan: Plan): void {
  const memory = {
    arena: new Array<Tag | undefined>(plan.arenaBytes / 4),
    shared: new Array<Tag | undefined>(plan.sharedBytes / 4),
    exchange: new Array<Tag | undefined>((plan.exchangeBytes ?? 0) / 4),
  };
  /** The value, and the word in it, that a value's memory starts at: its own unless it is a view. */
  const origin = new Map<ValueId, Tag>();
  const words = (operand: Operand): number => Math.ceil(byteLength(operand) / 4);
  const write = (operand: Operand, value: ValueId): void => {
    origin.set(value, { value, word: 0 });
    for (let i = 0; i < words(operand); i++) memory[operand.space][operand.offset / 4 + i] = { value, word: i };
    if (operand.offset % 64 !== 0) throw new Error(`value ${value} lies at ${operand.offset}, not at a multiple of 64`);
    const end = operand.offset + byteLength(operand);
    if (end > 4 * memory[operand.space].length) throw new Error(`value ${value} ends at ${end}`);
  };
  const read = (operand: Operand, value: ValueId, where: string): void => {
    const { value: root, word } = origin.get(value)!;
    for (let i = 0; i < words(operand); i++) {
      const tag = memory[operand.space][operand.offset / 4 + i];
      if (tag?.value !== root || tag.word !== word + i) {
        throw new Error(
          `${where} reads value ${value} from ${operand.space}+${operand.offset}, which holds ${tag?.value}`,
        );
      }
    }
  };

  for (const [name, id] of Object.entries(program.inputs)) write(plan.inputs[name]!, id);
  for (const [name, { value }] of Object.entries(program.parameters)) write(plan.parameters[name]!, value);
  let next = 0;
  for (const op of program.ops) {
    const view = viewOffset(program, op);
    if (view !== undefined) {
      const source = origin.get(op.inputs[0]!)!;
      origin.set(op.outputs[0]!, { value: source.value, word: source.word + view / 4 });
      continue;
    }
    const at = next++;
    const where = `instruction ${at} (${op.kind})`;
    const { inputs, outputs, scratch } = plan.instructions[at]!;
    for (const [i, id] of op.inputs.entries()) read(inputs[i]!, id, where);
    const own = [...outputs, ...(scratch === undefined ? [] : [scratch])];
    for (const [i, a] of own.entries()) {
      for (const b of own.slice(i + 1)) if (overlap(a, b)) throw new Error(`${where} has results that overlap`);
      for (const b of inputs) {
        const inPlace =
          overwritable(op, i).length > 0 && a !== scratch && a.offset === b.offset && a.shape.join() === b.shape.join();
        if (overlap(a, b) && !inPlace) throw new Error(`${where} writes over an operand`);
      }
    }
    if (scratch !== undefined) memory.arena.fill(undefined, scratch.offset / 4, scratch.offset / 4 + words(scratch));
    for (const [i, id] of op.outputs.entries()) write(outputs[i]!, id);
  }
  for (const [name, id] of Object.entries(program.outputs)) read(plan.outputs[name]!, id, `output ${name}`);
  for (const [name, id] of Object.entries(program.inputs)) read(plan.inputs[name]!, id, `the end, input ${name},`);
}

const overlap = (a: Operand, b: Operand): boolean =>
  a.space === b.space && a.offset < b.offset + byteLength(b) && b.offset < a.offset + byteLength(a);
