// Appends ops to a program, inferring and checking shapes as it goes. Tracing, autodiff and passes all build with it.
import { describeFailure, ProgramError, ShapeError } from "./errors.ts";
import {
  type Init,
  type Op,
  type OpAttrs,
  type OpKind,
  type Parameter,
  type Program,
  type Shape,
  sameShape,
  type TableSpec,
  type TensorType,
  type Value,
  type ValueId,
} from "./ir.ts";
import { definitionOf } from "./ops/catalogue.ts";
import type { GradientBuilder } from "./ops/definition.ts";
import { tableField } from "./tables.ts";

export interface ParameterOptions {
  /** Default true. A running statistic is not trainable: no gradient, no optimizer. */
  readonly trainable?: boolean;
  /** Default "default". */
  readonly group?: string;
}

export class ProgramBuilder implements GradientBuilder {
  /** The scope of the ops to come, as "mlp/0". */
  scope = "";
  readonly #values: Value[];
  readonly #ops: Op[];
  readonly #inputs: Record<string, ValueId>;
  readonly #parameters: Record<string, Parameter>;
  readonly #tables: Record<string, TableSpec>;
  readonly #outputs: Record<string, ValueId>;

  /** Starts empty, or continues `base`, which itself stays as it is. */
  constructor(base?: Program) {
    this.#values = [...(base?.values ?? [])];
    this.#ops = [...(base?.ops ?? [])];
    this.#inputs = { ...base?.inputs };
    this.#parameters = { ...base?.parameters };
    this.#tables = { ...base?.tables };
    this.#outputs = { ...base?.outputs };
  }

  typeOf(id: ValueId): TensorType {
    const value = this.#values[id];
    if (value === undefined) throw new ProgramError(`no value ${id}: the program has ${this.#values.length}`);
    return value;
  }

  /** Appends an op and returns its outputs. Throws a ShapeError that names the op, its operands and the caller. */
  emit<K extends OpKind>(kind: K, inputs: readonly ValueId[], attrs: OpAttrs[K]): ValueId[] {
    const types = inputs.map((id) => this.typeOf(id));
    const outputs = this.#infer(kind, types, attrs).map((type) => this.#value(type, ""));
    // `kind` and `attrs` belong together by the signature, which the union of op types cannot see.
    this.#ops.push({ kind, inputs: [...inputs], outputs, attrs, scope: this.scope } as unknown as Op);
    return outputs;
  }

  #infer<K extends OpKind>(kind: K, types: readonly TensorType[], attrs: OpAttrs[K]): TensorType[] {
    try {
      return definitionOf(kind).infer(types, attrs, (table, field) => tableField(this.#tables, table, field).dim);
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      throw new ShapeError(describeFailure(kind, types, this.scope, error.message), { cause: error });
    }
  }

  #value(type: TensorType, name: string): ValueId {
    const id = this.#values.length;
    this.#values.push({ id, shape: [...type.shape], dtype: type.dtype, name });
    return id;
  }

  /** A per-step input; asking again for the same name gives the same value. */
  input(name: string, type: TensorType): ValueId {
    const known = this.#inputs[name];
    if (known === undefined) {
      expectDimensions(`input ${name}`, type.shape);
      const id = this.#value(type, name);
      this.#inputs[name] = id;
      return id;
    }
    const old = this.typeOf(known);
    if (old.dtype !== type.dtype || !sameShape(old.shape, type.shape)) {
      throw new ShapeError(
        `input ${name} is ${old.dtype}[${old.shape.join(",")}], asked for as ${type.dtype}[${type.shape.join(",")}]`,
      );
    }
    return known;
  }

  /** A new f32 parameter. A name can be used once: share a parameter by sharing its tensor. */
  parameter(name: string, shape: Shape, init: Init, options: ParameterOptions = {}): ValueId {
    if (this.#parameters[name] !== undefined) {
      throw new ShapeError(
        `parameter ${name} exists already: use its tensor again, or scope the layer by another name`,
      );
    }
    expectDimensions(`parameter ${name}`, shape);
    const value = this.#value({ shape, dtype: "f32" }, name);
    const { trainable = true, group = "default" } = options;
    this.#parameters[name] = { value, init, trainable, group };
    return value;
  }

  /** Declares a table; asking again with an equal spec is allowed. */
  table(spec: TableSpec): void {
    const known = this.#tables[spec.name];
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(spec)) {
      throw new ShapeError(`table ${spec.name} is declared twice, with different fields or options`);
    }
    this.#tables[spec.name] = spec;
  }

  output(name: string, id: ValueId): void {
    this.typeOf(id);
    if (this.#outputs[name] !== undefined) throw new ShapeError(`output ${name} is given twice`);
    this.#outputs[name] = id;
  }

  /** The program so far, as plain data. */
  build(): Program {
    return {
      values: [...this.#values],
      ops: [...this.#ops],
      inputs: { ...this.#inputs },
      parameters: { ...this.#parameters },
      tables: { ...this.#tables },
      outputs: { ...this.#outputs },
    };
  }
}

function expectDimensions(what: string, shape: Shape): void {
  for (const d of shape) {
    if (!Number.isInteger(d) || d < 0)
      throw new ShapeError(`${what} has the shape [${shape.join(",")}]: ${d} is no length`);
  }
}
