// Automatic mixed precision: puts products and convolutions of a traced forward program into half precision, by the lists
// of Micikevicius et al. (arXiv 1710.03740) and PaddlePaddle. Weights stay f32 (the master copy) and are cast each step;
// arithmetic inside elementwise ops, reductions and norms is f32 whatever the type of what they read.
import type { Expr } from "../kernels/expr.ts";
import type { FloatType } from "../kernels/half.ts";
import { ProgramBuilder } from "../program/builder.ts";
import { some } from "../program/expr-tools.ts";
import type { Op, OpAttrs, OpKind, Program, ValueId } from "../program/ir.ts";
import { definitionOf } from "../program/ops/catalogue.ts";

/** The half-precision types that a model can compute in. */
export type HalfType = Exclude<FloatType, "f32">;

/** Kinds of ops ("conv2d"), or scopes of the model ("encoder/0") with all ops below them. */
export interface PrecisionLists {
  /** Computed in half precision. */
  readonly white?: readonly string[];
  /** Gives f32 results. */
  readonly black?: readonly string[];
  /** In half precision where all that it reads is. */
  readonly gray?: readonly string[];
}

export interface MixedPrecisionOptions {
  readonly dtype: HalfType;
  /** Additions to the built-in lists, which they overrule; a scope overrules a kind. */
  readonly lists?: PrecisionLists;
}

type Colour = "white" | "black" | "gray";

const white: ReadonlySet<string> = new Set(["matmul", "batch_matmul", "conv2d"]);
const gray: ReadonlySet<string> = new Set([
  ...["map", "pool2d", "batch_norm", "layer_norm"],
  ...["reshape", "slice", "pad", "transpose", "concat"],
]);
/** Arithmetic whose results span many orders of magnitude, or lose much by rounding. */
const wide: ReadonlySet<Expr["op"]> = new Set(["exp", "log", "log1p", "pow", "div", "sqrt"]);
/** Ops of these kinds read half operands as they are; others get f32 copies. */
const readsHalf: ReadonlySet<string> = new Set([...white, ...gray, "reduce"]);
/** Operands of a kind that stay f32: bias, gamma, beta, statistics, weights of rows. */
const firstF32Operand: Readonly<Record<string, number>> = {
  ...{ matmul: 2, batch_matmul: 2, conv2d: 2, batch_norm: 1, layer_norm: 1 },
};

/**
 * The forward program in mixed precision; differentiate afterwards, and gradients flow through the same casts.
 * @throws Error where a list names no kind of op and no scope of the program
 */
export function mixedPrecision(program: Program, { dtype, lists = {} }: MixedPrecisionOptions): Program {
  checkLists(program, lists);
  return new Caster(program, dtype, lists).run();
}

class Caster {
  readonly #program: Program;
  readonly #dtype: HalfType;
  readonly #lists: PrecisionLists;
  readonly #builder: ProgramBuilder;
  readonly #parameters: ReadonlySet<ValueId>;
  /** The new value of each old one, and copies of new values in other types. */
  readonly #renamed = new Map<ValueId, ValueId>();
  readonly #copies = new Map<string, ValueId>();

  constructor(program: Program, dtype: HalfType, lists: PrecisionLists) {
    this.#program = program;
    this.#dtype = dtype;
    this.#lists = lists;
    this.#builder = new ProgramBuilder();
    this.#parameters = new Set(Object.values(program.parameters).map(({ value }) => value));
  }

  run(): Program {
    const { values, inputs, parameters, tables, ops, outputs } = this.#program;
    const builder = this.#builder;
    for (const spec of Object.values(tables)) builder.table(spec);
    for (const [name, id] of Object.entries(inputs)) this.#renamed.set(id, builder.input(name, values[id]!));
    for (const [name, { value, init, trainable, group }] of Object.entries(parameters)) {
      this.#renamed.set(value, builder.parameter(name, values[value]!.shape, init, { trainable, group }));
    }
    for (const op of ops) this.#rewrite(op);
    builder.scope = "";
    // What a program gives is read by people and losses: f32, as it was.
    for (const [name, id] of Object.entries(outputs)) {
      builder.output(name, this.#as(this.#renamed.get(id)!, values[id]!.dtype === "f32" ? "f32" : undefined));
    }
    return builder.build();
  }

  #rewrite(op: Op): void {
    this.#builder.scope = op.scope;
    const inputs = op.inputs.map((id) => this.#renamed.get(id)!);
    const half = this.#isHalf(op, inputs);
    const reads = readsHalf.has(op.kind);
    const operands = inputs.map((id, position) => {
      const type = this.#builder.typeOf(id).dtype;
      if (type !== "f32" && type !== this.#dtype) return id;
      if (!reads || position >= (firstF32Operand[op.kind] ?? Number.POSITIVE_INFINITY)) return this.#as(id, "f32");
      if (half && (white.has(op.kind) || op.kind === "concat")) return this.#as(id, this.#dtype);
      if (op.kind === "concat" || white.has(op.kind)) return this.#as(id, "f32");
      // A weight or a running statistic is read as it is: arithmetic takes operands of several types.
      return !half && op.kind !== "map" && op.kind !== "reduce" && !isCopy(op) ? this.#as(id, "f32") : id;
    });
    const attrs = this.#attrs(op, half);
    const outputs = this.#builder.emit(op.kind, operands, attrs);
    for (const [i, id] of op.outputs.entries()) this.#renamed.set(id, outputs[i]!);
  }

  #attrs(op: Op, half: boolean): OpAttrs[OpKind] {
    if (!half || isCopy(op)) return op.attrs;
    if (op.kind === "map") return { ...op.attrs, dtypes: op.attrs.exprs.map(() => this.#dtype) };
    if (op.kind === "pool2d" || op.kind === "reduce") return op.attrs;
    return { ...op.attrs, dtype: this.#dtype } as OpAttrs[OpKind];
  }

  /** Whether the op's results are in half precision. */
  #isHalf(op: Op, inputs: readonly ValueId[]): boolean {
    const colour = this.#colourOf(op);
    if (colour !== "gray") return colour === "white";
    const data = inputs.filter((id, position) => {
      const { dtype } = this.#builder.typeOf(id);
      const isParameter = this.#parameters.has(op.inputs[position]!);
      return (dtype === "f32" || dtype === this.#dtype) && !isParameter;
    });
    const main = firstF32Operand[op.kind] === undefined ? data : data.slice(0, 1);
    return main.length > 0 && main.every((id) => this.#builder.typeOf(id).dtype === this.#dtype);
  }

  #colourOf(op: Op): Colour {
    for (const colour of ["black", "white", "gray"] as const) {
      if (this.#lists[colour]?.some((entry) => isWithin(op.scope, entry))) return limited(op, colour);
    }
    for (const colour of ["black", "white", "gray"] as const) {
      if (this.#lists[colour]?.includes(op.kind)) return limited(op, colour);
    }
    if (white.has(op.kind)) return "white";
    if (!gray.has(op.kind)) return "black";
    const wideMap = op.kind === "map" && op.attrs.exprs.some((expr) => some(expr, ({ op }) => wide.has(op)));
    return wideMap ? "black" : "gray";
  }

  /** The value in a type, cast once; `undefined` leaves it as it is. */
  #as(id: ValueId, dtype: FloatType | undefined): ValueId {
    const type = this.#builder.typeOf(id);
    const isFloat = type.dtype === "f32" || type.dtype === this.#dtype;
    if (dtype === undefined || !isFloat || type.dtype === dtype) return id;
    const key = `${id} ${dtype}`;
    const known = this.#copies.get(key);
    if (known !== undefined) return known;
    const [copy] = this.#builder.emit("map", [id], {
      exprs: [{ op: "input", index: 0 }],
      ...(dtype === "f32" ? {} : { dtypes: [dtype] }),
    });
    this.#copies.set(key, copy!);
    return copy!;
  }
}

/** Ops that move elements: the type of what they give is that of what they read. */
const isCopy = ({ kind }: Op): boolean =>
  kind === "reshape" || kind === "slice" || kind === "pad" || kind === "transpose" || kind === "concat";

/** A kind that cannot give half results stays black, whatever a list says of its scope. */
function limited(op: Op, colour: Colour): Colour {
  if (colour === "white" && !white.has(op.kind)) return gray.has(op.kind) ? "gray" : "black";
  return colour === "gray" && !readsHalf.has(op.kind) ? "black" : colour;
}

const isWithin = (scope: string, entry: string): boolean => scope === entry || scope.startsWith(`${entry}/`);

function checkLists({ ops }: Program, lists: PrecisionLists): void {
  for (const [colour, entries] of Object.entries(lists)) {
    for (const entry of entries as readonly string[]) {
      const isKind = definitionOf(entry as OpKind) !== undefined;
      if (isKind || ops.some(({ scope }) => isWithin(scope, entry))) continue;
      const scopes = [...new Set(ops.map(({ scope }) => scope.split("/")[0]).filter(Boolean))].slice(0, 12);
      throw new Error(
        `mixed precision: the ${colour} list names ${JSON.stringify(entry)}, which is no kind of op ("matmul", "conv2d", …) and no scope of the model; its scopes start with ${scopes.join(", ") || "nothing"}`,
      );
    }
  }
}
