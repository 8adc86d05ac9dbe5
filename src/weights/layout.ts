// How PyTorch lays out each parameter of a program, found by the ops that read it: kernels of linear layers are [out,in]
// there and [in,out] here, those of convolutions OIHW there and HWIO here, and pictures are flattened channels first.
import { type Op, type Program, type Shape, sizeOf, type ValueId } from "../program/ir.ts";

export interface Layout {
  /** Of PyTorch's tensor. */
  readonly shape: Shape;
  /** The same numbers with some axes taken apart: [O, C·H·W] as [O, C, H, W]. */
  readonly view: Shape;
  /** Our axis i is the view's axis `perm[i]`; neighbours may be one axis here. */
  readonly perm: readonly number[];
}

/** The tensor as it stands here. */
export function asIs(shape: Shape): Layout {
  return { shape, view: shape, perm: shape.map((_, axis) => axis) };
}

const TRANSPOSED = [1, 0];
/** [O, I, H, W] → [H, W, I, O], and of a linear layer after pictures [O, C, H, W] → [H, W, C, O]. */
const CHANNELS_LAST_KERNEL = [2, 3, 1, 0];
const CHANNELS_LAST = [1, 2, 0];

/** PyTorch's layout of every parameter, by our names. The program must be as it was traced, before any pass. */
export function torchLayouts(program: Program): ReadonlyMap<string, Layout> {
  const pictures = new Pictures(program);
  const readers = new Map<ValueId, { op: Op; input: number }[]>();
  for (const op of program.ops) {
    for (const [input, id] of op.inputs.entries()) {
      const known = readers.get(id);
      if (known === undefined) readers.set(id, [{ op, input }]);
      else known.push({ op, input });
    }
  }
  return new Map(
    Object.entries(program.parameters).map(([name, { value }]) => {
      const { shape } = program.values[value]!;
      for (const { op, input } of readers.get(value) ?? []) {
        const layout = layoutFor(op, input, shape, pictures);
        if (layout !== undefined) return [name, layout];
      }
      return [name, asIs(shape)];
    }),
  );
}

/** Where an op tells that PyTorch's layout is another. */
function layoutFor(op: Op, input: number, shape: Shape, pictures: Pictures): Layout | undefined {
  switch (op.kind) {
    case "conv2d": {
      if (input !== 1) return undefined;
      const [height, width, channels, results] = shape as [number, number, number, number];
      const theirs = [results, channels, height, width];
      return { shape: theirs, view: theirs, perm: CHANNELS_LAST_KERNEL };
    }
    case "matmul": {
      if (input !== 1 || op.attrs.transposeB) return undefined;
      const [inputs, units] = shape as [number, number];
      const picture = op.attrs.transposeA ? undefined : pictures.flattened(op.inputs[0]!);
      if (picture === undefined) return { shape: [units, inputs], view: [units, inputs], perm: TRANSPOSED };
      const [height, width, channels] = picture;
      return { shape: [units, inputs], view: [units, channels, height, width], perm: CHANNELS_LAST_KERNEL };
    }
    case "lstm":
    case "gru":
      return input === 1 ? { shape: shape.toReversed(), view: shape.toReversed(), perm: TRANSPOSED } : undefined;
    case "batch_norm":
    case "layer_norm": {
      const picture = input === 0 ? undefined : pictures.flattened(op.inputs[0]!);
      if (picture === undefined || sizeOf(picture) !== shape[0]) return undefined;
      const [height, width, channels] = picture;
      return { shape, view: [channels, height, width], perm: CHANNELS_LAST };
    }
    default:
      return undefined;
  }
}

/** Which values are pictures [B,H,W,C], and which are flattened ones. */
class Pictures {
  readonly #program: Program;
  readonly #producers = new Map<ValueId, Op>();
  readonly #known = new Map<ValueId, boolean>();

  constructor(program: Program) {
    this.#program = program;
    for (const op of program.ops) for (const id of op.outputs) this.#producers.set(id, op);
    for (const id of Object.values(program.inputs)) this.#known.set(id, this.#shape(id).length === 4);
  }

  /** The picture [H,W,C] that the rows of a value [B, H·W·C] are made of, element by element. */
  flattened(id: ValueId): readonly [number, number, number] | undefined {
    const op = this.#producers.get(id);
    if (op === undefined) return undefined;
    const shape = this.#shape(id);
    if (op.kind === "reshape") {
      const whole = this.#shape(op.inputs[0]!);
      const flattens = shape.length === 2 && whole.length === 4 && whole[0] === shape[0];
      return flattens && this.#isPicture(op.inputs[0]!) ? [whole[1]!, whole[2]!, whole[3]!] : undefined;
    }
    for (const source of elementwiseSources(op)) {
      const picture = sameLength(this.#shape(source), shape) ? this.flattened(source) : undefined;
      if (picture !== undefined) return picture;
    }
    return undefined;
  }

  #isPicture(id: ValueId): boolean {
    const known = this.#known.get(id);
    if (known !== undefined) return known;
    const op = this.#producers.get(id);
    let found = false;
    if (op?.kind === "conv2d" || op?.kind === "pool2d") found = true;
    else if (op !== undefined) {
      const sources = op.kind === "reshape" ? op.inputs : elementwiseSources(op);
      found = sources.some((source) => this.#isPicture(source));
    }
    this.#known.set(id, found);
    return found;
  }

  #shape(id: ValueId): Shape {
    return this.#program.values[id]!.shape;
  }
}

/** The operands whose elements keep their places in the result. */
function elementwiseSources(op: Op): readonly ValueId[] {
  if (op.kind === "map") return op.inputs;
  return op.kind === "batch_norm" || op.kind === "layer_norm" ? op.inputs.slice(0, 1) : [];
}

const sameLength = (a: Shape, b: Shape): boolean => a.length === b.length && sizeOf(a) === sizeOf(b);
