// ONNX export: the program of inference with its weights as a file that other runtimes run.

import { eliminateDeadCode } from "../passes/dead-code.ts";
import type { DType, Program, ValueId } from "../program/ir.ts";
import { GraphBuilder } from "./graph-builder.ts";
import { parameterBytes, writeOp } from "./ops.ts";
import { ElementType, encodeModel, type ValueInfo } from "./proto.ts";

export interface OnnxOptions {
  /** Name of the graph; default "flotilla". */
  readonly name?: string;
  /** Outputs to keep, by name; default all. */
  readonly outputs?: readonly string[];
  /** Written to the file as its producer; default empty. */
  readonly version?: string;
}

/** A protocol buffer cannot be larger. */
const MAX_BYTES = 2 ** 31 - 1;

const elementTypes: Partial<Readonly<Record<DType, ElementType>>> = {
  ...{ f32: ElementType.float, i32: ElementType.int32, u32: ElementType.uint32 },
  ...{ f16: ElementType.float16, bf16: ElementType.bfloat16 },
};

/**
 * A serialized ONNX model (operator set 20) of a program traced for inference, with its batch size.
 * @param parameters the weights by name, row-major
 * @throws Error for ops without a counterpart in ONNX, missing weights, and models above 2 GiB
 * @example await writeFile("model.onnx", onnxModel(program, (name) => weights[name]));
 */
export function onnxModel(
  traced: Program,
  parameters: (name: string) => Float32Array | undefined,
  { name = "flotilla", outputs, version = "" }: OnnxOptions = {},
): Uint8Array {
  const program = eliminateDeadCode(outputs === undefined ? traced : withOutputs(traced, outputs));
  if (parameterBytes(program) > MAX_BYTES) {
    throw new Error(
      `ONNX export: ${parameterBytes(program)} bytes of weights are more than the 2 GiB that a file holds`,
    );
  }
  const graph = new GraphBuilder();
  const names = new Map<ValueId, string>();
  const numbers = new Map<ValueId, string>();
  const read = new Set(program.ops.flatMap((op) => op.inputs));
  const nameOf = (id: ValueId): string => names.get(id)!;
  const numberOf = (id: ValueId): string => {
    if (program.values[id]!.dtype === "f32") return nameOf(id);
    const known = numbers.get(id);
    if (known !== undefined) return known;
    const cast = graph.node("Cast", [nameOf(id)], { to: ElementType.float });
    numbers.set(id, cast);
    return cast;
  };
  const info = (label: string, id: ValueId): ValueInfo => {
    const { dtype, shape } = program.values[id]!;
    const type = elementTypes[dtype];
    if (type === undefined) throw new Error(`ONNX export: ${label} is ${dtype}, which has no counterpart`);
    return { name: label, type, shape };
  };

  const inputs = Object.entries(program.inputs).filter(([, id]) => read.has(id));
  for (const [label, id] of inputs) names.set(id, label);
  for (const [label, { value }] of Object.entries(program.parameters)) {
    if (!read.has(value)) continue;
    const { shape } = program.values[value]!;
    const data = parameters(label);
    const size = shape.reduce((a, b) => a * b, 1);
    if (data?.length !== size) {
      throw new Error(`ONNX export: parameter ${label} [${shape}] has ${data?.length ?? "no"} numbers, not ${size}`);
    }
    names.set(value, graph.tensor(label, shape, data));
  }
  for (const op of program.ops) {
    graph.scope = op.scope;
    const results = writeOp(op, { graph, program, name: nameOf, number: numberOf });
    for (const [i, id] of op.outputs.entries()) names.set(id, results[i]!);
  }
  graph.scope = "";
  const results = Object.entries(program.outputs).map(([label, id]) => {
    graph.nodes.push({ type: "Identity", name: label, inputs: [nameOf(id)], outputs: [label], attributes: {} });
    return info(label, id);
  });
  // Recurrent layers take the products in front of them into theirs.
  graph.keep(Object.keys(program.outputs));
  const bytes = encodeModel(
    {
      name,
      nodes: graph.nodes,
      initializers: graph.initializers,
      inputs: inputs.map(([label, id]) => info(label, id)),
      outputs: results,
    },
    { name: "flotilla", version },
  );
  return bytes;
}

function withOutputs(program: Program, kept: readonly string[]): Program {
  const outputs = Object.fromEntries(
    kept.map((label) => {
      const id = program.outputs[label];
      if (id !== undefined) return [label, id];
      throw new Error(`ONNX export: no output ${label}; the program has ${Object.keys(program.outputs).join(", ")}`);
    }),
  );
  return { ...program, outputs };
}
