// Parameters in the shared block: reading and writing them by name.
import type { Operand } from "../engine/index.ts";
import type { Heap } from "../memory/index.ts";
import type { Parameter } from "../program/index.ts";
import { initialise } from "./initialise.ts";

/** What optimizers and strategies keep beside the weights. */
const STATE_GROUPS: ReadonlySet<string> = new Set(["optimizer", "average", "merged", "snapshot"]);

/** The parameters and optimizer state of a trainer. */
export class ParameterStore {
  readonly address: number;
  readonly bytes: number;
  readonly #heap: Heap;
  readonly #operands: Readonly<Record<string, Operand>>;
  readonly #parameters: Readonly<Record<string, Parameter>>;

  /** Sets memory aside and gives every parameter its start value. */
  constructor(
    heap: Heap,
    bytes: number,
    operands: Readonly<Record<string, Operand>>,
    parameters: Readonly<Record<string, Parameter>>,
    seed: number,
  ) {
    this.#heap = heap;
    this.bytes = bytes;
    this.#operands = operands;
    this.#parameters = parameters;
    this.address = heap.alloc(Math.max(bytes, 64));
    for (const name of this.names) {
      const { init } = parameters[name]!;
      const original = init.kind === "copy" ? init.of : name;
      initialise(this.view(name), this.shape(name), parameters[original]!.init, original, seed);
    }
  }

  get names(): string[] {
    return Object.keys(this.#operands);
  }

  /** Weights that the optimizer moves. */
  get trainableNames(): string[] {
    return this.names.filter((name) => this.#parameters[name]!.trainable);
  }

  /** Running statistics: what training moves beside the optimizer. */
  get statistics(): string[] {
    return this.names.filter((name) => {
      const { trainable, group } = this.#parameters[name]!;
      return !trainable && !STATE_GROUPS.has(group);
    });
  }

  shape(name: string): readonly number[] {
    return this.#operands[name]!.shape;
  }

  /** Whether it is trainable, and its group. */
  parameter(name: string): Parameter {
    return this.#parameters[name]!;
  }

  /** Where its numbers lie in the heap. */
  addressOf(name: string): number {
    return this.address + this.#operands[name]!.offset;
  }

  /** The live numbers; trainers may be changing them. */
  view(name: string): Float32Array {
    const operand = this.#operands[name];
    if (operand === undefined) throw new Error(`no parameter "${name}"; there are ${this.names.join(", ")}`);
    return this.#heap.f32(
      this.address + operand.offset,
      operand.shape.reduce((a, b) => a * b, 1),
    );
  }

  free(): void {
    this.#heap.free(this.address);
  }
}
