// Parameters in the shared block: their start values, and reading and writing them by name.
import type { Operand } from "../engine/index.ts";
import type { Heap } from "../memory/index.ts";
import type { Init, Parameter } from "../program/index.ts";

/** FNV-1a of a name: gives every parameter a random stream of its own, whatever the order of declaration. */
function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash;
}

/** Mulberry32: enough for start values. Uniform in [0, 1). */
function uniformSource(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Box–Muller. */
const normalFrom = (uniform: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());

/** Fills a parameter with its start value; the same (name, seed) gives the same numbers. */
export function initialise(into: Float32Array, shape: readonly number[], init: Init, name: string, seed: number): void {
  const uniform = uniformSource(hashName(name) ^ Math.imul(seed + 1, 0x9e3779b1));
  const fill = (next: () => number): void => {
    for (let i = 0; i < into.length; i++) into[i] = next();
  };
  const spread = (limit: number): void => fill(() => limit * (2 * uniform() - 1));
  const bell = (deviation: number): void => fill(() => deviation * normalFrom(uniform));
  const [fanIn, fanOut] = fansOf(shape, init);
  switch (init.kind) {
    case "zeros":
      into.fill(0);
      break;
    case "ones":
      into.fill(1);
      break;
    case "constant":
      into.fill(init.value);
      break;
    case "uniform":
      spread(init.scale);
      break;
    case "normal":
      bell(init.scale);
      break;
    // A uniform number in ±a has the variance a²/3.
    case "glorot-uniform":
      spread(Math.sqrt(6 / (fanIn + fanOut)));
      break;
    case "glorot-normal":
      bell(Math.sqrt(2 / (fanIn + fanOut)));
      break;
    case "he-uniform":
      spread(Math.sqrt(6 / fanIn));
      break;
    case "he-normal":
      bell(Math.sqrt(2 / fanIn));
      break;
    case "copy":
      throw new Error(`parameter ${name} starts as ${init.of} does: initialise with the name and start of that one`);
    default:
      init satisfies never;
  }
}

function fansOf(shape: readonly number[], init: Init): [fanIn: number, fanOut: number] {
  const rows = shape.length > 1 ? shape.slice(0, -1).reduce((a, b) => a * b, 1) : (shape[0] ?? 1);
  const given = init as { fanIn?: number; fanOut?: number };
  return [Math.max(1, given.fanIn ?? rows), Math.max(1, given.fanOut ?? shape.at(-1) ?? 1)];
}

/** The parameters and optimizer state of a trainer. */
export class ParameterStore {
  readonly address: number;
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
