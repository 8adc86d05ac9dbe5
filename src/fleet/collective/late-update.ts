// Updates that run in the next step: each as late as its parameters allow, so that the sums over ranks may take as long as the
// forward pass before what reads them. A step does the same arithmetic on the same numbers as with its update at its end.
import { byteLength, type Executable, type Instruction, type Operand, type Plan, written } from "../../engine/index.ts";
import { clock, Kind, type Timeline } from "./timeline.ts";

/**
 * For each instruction of a step, how many instructions of the update of the step before must have run.
 * @param update whose operands outside of its arena have absolute addresses
 * @param shared address of the step's parameters
 */
export function updatesBefore(step: Plan, update: Plan, shared: number): number[] {
  const moved = update.instructions.flatMap((instruction, at) =>
    written(instruction).flatMap((operand) => (operand.space === "shared" ? [{ ...rangeOf(operand, 0), at }] : [])),
  );
  const leastFor = (operand: Operand): number => {
    if (operand.space !== "shared") return 0;
    const { start, end } = rangeOf(operand, shared);
    return moved.reduce((most, range) => (range.start < end && start < range.end ? range.at + 1 : most), 0);
  };
  // The sums lie where the step is about to put its own gradients.
  const fills = (instruction: Instruction): boolean => written(instruction).some(({ space }) => space === "exchange");
  let most = 0;
  return step.instructions.map((instruction) => {
    most = fills(instruction)
      ? update.instructions.length
      : Math.max(most, ...[...instruction.inputs, ...instruction.outputs].map(leastFor));
    return most;
  });
}

const rangeOf = (operand: Operand, base: number): { readonly start: number; readonly end: number } => ({
  start: base + operand.offset,
  end: base + operand.offset + byteLength(operand),
});

export interface LateUpdateOptions {
  readonly update: Executable;
  /** What `updatesBefore` says. */
  readonly before: readonly number[];
  /** Writes the update's own inputs, for a step and the weight of its rows. */
  readonly setInputs: (step: number, weight: number) => void;
  /** Notes when parts of the update are at work. */
  readonly timeline?: Timeline | undefined;
}

/** An update in a trainer thread that may not have run yet. */
export class LateUpdate {
  readonly #options: LateUpdateOptions;
  readonly #all: number;
  #done: number;

  constructor(options: LateUpdateOptions) {
    this.#options = options;
    this.#all = options.before.at(-1) ?? 0;
    this.#done = this.#all;
  }

  /** Leaves the update of a step to the next step. */
  defer(step: number, weight: number): void {
    this.#options.setInputs(step, weight);
    this.#done = 0;
  }

  /** Runs what an instruction of the step waits for. */
  before(instruction: number): void {
    const until = this.#options.before[instruction]!;
    if (until <= this.#done) return;
    const { update, timeline } = this.#options;
    const start = timeline === undefined ? 0 : clock();
    update.runPart(this.#done, until);
    this.#done = until;
    timeline?.add(Kind.update, 0, start, clock());
  }
}
