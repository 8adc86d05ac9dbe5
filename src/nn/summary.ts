// What a model consists of: its layers with their shapes, parameters, arithmetic and memory, told from its traced program.
import { byteLength } from "../engine/tensor.ts";
import {
  flopsOf,
  type ModelFunction,
  type Op,
  type Program,
  type Shape,
  type TensorType,
  trace,
} from "../program/index.ts";
import type { Module } from "./module.ts";

export interface SummaryRow {
  /** The scope, as "encoder/0"; empty for what stands in none. */
  readonly layer: string;
  /** Of its last result. */
  readonly shape: Shape;
  /** Numbers that training moves. */
  readonly parameters: number;
  /** Running statistics and the like. */
  readonly fixed: number;
  /** Floating-point operations forward; a multiplication and an addition count as two. */
  readonly flops: number;
  /** Of all results that the layer writes, before fusion spares some. */
  readonly activationBytes: number;
}

export type SummaryTotal = Omit<SummaryRow, "layer" | "shape">;

export interface Summary {
  /** In the order in which the layers run. */
  readonly rows: readonly SummaryRow[];
  readonly total: SummaryTotal;
  /** As a table. */
  readonly text: string;
}

export interface SummaryOptions {
  /** How many parts of a scope's name tell layers apart: 1 gives a row for each part of the model; default all. */
  readonly depth?: number;
}

/**
 * A table of the layers of a model.
 * @param model a forward function, or a module that takes the only input
 * @param inputs types by name; with them the batch size
 * @throws ShapeError where the layers do not fit the inputs
 */
export function summary<Name extends string>(
  model: ModelFunction<Name> | Module,
  inputs: Readonly<Record<Name, TensorType>>,
  { depth = Number.POSITIVE_INFINITY }: SummaryOptions = {},
): Summary {
  const program = trace(typeof model === "function" ? model : applied<Name>(model), { inputs });
  // The parts of a module go by their own names.
  const prefix = typeof model === "function" ? "" : `${model.kind}/`;
  const layerOf = (scope: string): string =>
    scope
      .slice(scope.startsWith(prefix) ? prefix.length : 0)
      .split("/")
      .slice(0, depth)
      .join("/");
  const rows = new Map<string, { -readonly [K in keyof SummaryRow]: SummaryRow[K] }>();
  for (const op of program.ops) {
    const layer = layerOf(op.scope);
    const row = rows.get(layer) ?? { layer, shape: [], parameters: 0, fixed: 0, flops: 0, activationBytes: 0 };
    rows.set(layer, row);
    row.shape = program.values[op.outputs[0]!]?.shape ?? row.shape;
    row.flops += flopsOf(program, op);
    row.activationBytes += writtenBytes(program, op);
  }
  for (const [name, { value, trainable }] of Object.entries(program.parameters)) {
    const { shape } = program.values[value]!;
    const row = rows.get(layerOf(scopeOf(program, name, value)));
    if (row !== undefined) row[trainable ? "parameters" : "fixed"] += shape.reduce((n, d) => n * d, 1);
  }
  const list = [...rows.values()];
  const sum = (key: keyof SummaryTotal): number => list.reduce((total, row) => total + row[key], 0);
  const total: SummaryTotal = {
    parameters: sum("parameters"),
    fixed: sum("fixed"),
    flops: sum("flops"),
    activationBytes: sum("activationBytes"),
  };
  return { rows: list, total, text: format(list, total) };
}

function applied<Name extends string>(module: Module): ModelFunction<Name> {
  return (inputs, ctx) => {
    const [first] = Object.keys(inputs) as Name[];
    return module.apply(ctx, module.kind, inputs[first!]);
  };
}

/** Reshapes write nothing. */
const writtenBytes = ({ values }: Program, op: Op): number =>
  op.kind === "reshape" ? 0 : op.outputs.reduce((sum, id) => sum + byteLength(values[id]!), 0);

/** The scope of the first op that reads a parameter; that of its name where none does. */
const scopeOf = (program: Program, name: string, value: number): string =>
  program.ops.find((op) => op.inputs.includes(value))?.scope ?? name.split("/").slice(0, -1).join("/");

const HEADERS = ["layer", "output", "parameters", "MFLOP", "activations MiB"];

function format(rows: readonly SummaryRow[], total: SummaryTotal): string {
  const number = (value: number, digits: number): string =>
    value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replaceAll(",", " ");
  const numbers = ({ parameters, fixed, flops, activationBytes }: SummaryTotal): string[] => [
    number(parameters + fixed, 0),
    number(flops / 1e6, 2),
    number(activationBytes / 2 ** 20, 2),
  ];
  const lines = [
    HEADERS,
    ...rows.map((row) => [row.layer || "–", `[${row.shape.join(",")}]`, ...numbers(row)]),
    ["total", "", ...numbers(total)],
  ];
  const widths = HEADERS.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const aligned = lines.map((line) =>
    line.map((cell, c) => (c < 2 ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!))).join("  "),
  );
  return aligned.map((line) => line.trimEnd()).join("\n");
}
