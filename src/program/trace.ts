// Tracing: runs a model function once over symbolic tensors and keeps what it did as a program.
import { type ParameterOptions, ProgramBuilder } from "./builder.ts";
import { ShapeError } from "./errors.ts";
import type { Init, Pooling, Program, Shape, TableSpec, TensorType } from "./ir.ts";
import { emit, Tensor, type Trace } from "./tensor.ts";

export interface TraceOptions<Name extends string = string> {
  /** What each step supplies, by name. */
  readonly inputs: Readonly<Record<Name, TensorType>>;
  /** Default true. */
  readonly training?: boolean;
  /** Ranks that run the program together, each on tensors of its own; default 1. */
  readonly ranks?: number;
  /** Batch norm takes the statistics of the rows of all ranks; default false. */
  readonly syncBatchNorm?: boolean;
}

/** A model: named input tensors in, named output tensors out. A tensor alone becomes the output "output". */
export type ModelFunction<Name extends string = string> = (
  inputs: { readonly [K in Name]: Tensor },
  ctx: TraceContext,
) => Readonly<Record<string, Tensor>> | Tensor;

/** What a model function may declare. */
export class TraceContext {
  readonly training: boolean;
  readonly #trace: Trace;
  readonly #prefix: string[] = [];

  constructor(trace: Trace) {
    this.#trace = trace;
    this.training = trace.training;
  }

  /** A trainable f32 tensor, shared by all trainers; its full name is prefixed by the scopes it stands in. */
  parameter(name: string, shape: Shape, init: Init, options: ParameterOptions = {}): Tensor {
    return new Tensor(this.#trace, this.#trace.builder.parameter(this.#named(name), shape, init, options));
  }

  /** A sparse table. The spec's name is used as it stands: one table can serve several scopes. */
  table(spec: TableSpec): SymbolicTable {
    this.#trace.builder.table(spec);
    return new SymbolicTable(this.#trace, spec.name);
  }

  /** How many ranks run the program together. */
  get ranks(): number {
    return this.#trace.ranks;
  }

  /** This rank's number, from 0: a per-step input, as all ranks run one program. */
  get rank(): Tensor {
    return this.scalar("rank");
  }

  /** A per-step number that the trainer supplies: the rank-0 input `scalar:NAME`. */
  scalar(name: string): Tensor {
    return new Tensor(this.#trace, this.#trace.builder.input(`scalar:${name}`, { shape: [], dtype: "f32" }));
  }

  /** Runs `body` with names prefixed by `name/`. */
  scope<T>(name: string, body: () => T): T {
    const { builder } = this.#trace;
    this.#prefix.push(name);
    builder.scope = this.#prefix.join("/");
    try {
      return body();
    } finally {
      this.#prefix.pop();
      builder.scope = this.#prefix.join("/");
    }
  }

  #named(name: string): string {
    return [...this.#prefix, name].join("/");
  }
}

/** A table inside a model. */
export class SymbolicTable {
  readonly name: string;
  readonly #trace: Trace;

  constructor(trace: Trace, name: string) {
    this.#trace = trace;
    this.name = name;
  }

  /** Rows of ids u64 [..]. Training inserts unknown ids; inference gives them the zero row. Id 0 is "no feature". */
  lookup(ids: Tensor): TableRows {
    const [rows] = emit(this.#trace, "lookup", [ids], { table: this.name, insert: this.#trace.training });
    return new TableRows(this.name, rows!);
  }
}

/** Rows found by a look-up: read their fields. */
export class TableRows {
  readonly table: string;
  /** Row handles, u32 [..]. */
  readonly rows: Tensor;

  constructor(table: string, rows: Tensor) {
    this.table = table;
    this.rows = rows;
  }

  /** Rows [..] → weights [.., dim]. */
  gather(field: string): Tensor {
    return this.rows.emit("gather", [this.rows], { table: this.table, field });
  }

  /** Rows [B, L] → the sum or mean [B, dim]; the mean counts only rows that are not the zero row. */
  gatherPool(field: string, mode: Pooling): Tensor {
    return this.rows.emit("gather_pool", [this.rows], { table: this.table, field, mode });
  }
}

/**
 * The program of `model` for inputs of fixed shapes.
 * @throws ShapeError where operands do not fit, with the model's line
 */
export function trace<Name extends string>(model: ModelFunction<Name>, options: TraceOptions<Name>): Program {
  const { inputs, training = true, ranks = 1, syncBatchNorm = false } = options;
  const builder = new ProgramBuilder();
  let streams = 0;
  let collectives = 0;
  const shared: Trace = {
    ...{ builder, training, ranks, syncBatchNorm: syncBatchNorm && ranks > 1 },
    nextStream: () => streams++,
    nextCollective: () => collectives++,
  };
  const tensors: Record<string, Tensor> = {};
  for (const [name, type] of Object.entries<TensorType>(inputs)) {
    tensors[name] = new Tensor(shared, builder.input(name, type));
  }
  const result = model(expectKnown(tensors), new TraceContext(shared));
  const outputs = result instanceof Tensor ? { output: result } : result;
  for (const [name, tensor] of Object.entries(outputs)) builder.output(name, tensor.id);
  return builder.build();
}

/** A misspelt input fails where it is read, with the names that exist. */
function expectKnown<Name extends string>(tensors: Record<string, Tensor>): { readonly [K in Name]: Tensor } {
  const checked = new Proxy(tensors, {
    get(target, name) {
      const tensor = target[String(name)];
      if (tensor === undefined && typeof name === "string") {
        throw new ShapeError(`no input ${name}: the model gets ${Object.keys(target).join(", ") || "none"}`);
      }
      return tensor;
    },
  });
  return checked as { readonly [K in Name]: Tensor };
}
