// Joins elementwise ops: a map is written into the maps, reductions, rows and updates that read it, so that its result
// never goes through memory. No expensive part is computed twice, and less memory is read and written in all.
import type { Expr } from "../kernels/expr.ts";
import { childrenOf, countNodes, isExpensive, isRandom, some } from "../program/expr-tools.ts";
import { type Op, type OpOf, type Program, type Shape, sameShape, sizeOf, type ValueId } from "../program/ir.ts";
import { typed } from "../program/ops/broadcast.ts";
import { reducedExprs } from "../program/ops/map.ts";
import { eliminateDeadCode } from "./dead-code.ts";
import { Draft } from "./edit.ts";
import { type Arithmetic, inline, spanOf } from "./operands.ts";
import { rowArithmetic, stageIds, withRowArithmetic } from "./row-arithmetic.ts";

/** Beyond these, a kernel runs out of registers and gains nothing by growing. */
const limits = { operands: 12, nodes: 96, treeNodes: 600, broadcastNodes: 6 } as const;

type Elementwise = OpOf<"map"> | OpOf<"reduce"> | OpOf<"rows"> | OpOf<"update">;

const isElementwise = (op: Op): op is Elementwise =>
  op.kind === "map" || op.kind === "reduce" || op.kind === "rows" || op.kind === "update";

export function fuseElementwise(program: Program): Program {
  const draft = new Draft(program);
  const { definitions } = draft;
  // Consumers in order: what a consumer absorbs has already absorbed its own producers.
  for (let at = 0; at < draft.ops.length; at++) {
    let consumer = draft.ops[at]!;
    const refused = new Set<ValueId>();
    while (isElementwise(consumer)) {
      const id: ValueId | undefined = consumer.inputs.find(
        (input) => !refused.has(input) && definitions.has(input) && draft.ops[definitions.get(input)!]!.kind === "map",
      );
      if (id === undefined) break;
      refused.add(id);
      const from = definitions.get(id)!;
      if (!worthwhile(draft, from, id)) continue;
      const fused = absorb(draft, from, at, id);
      if (fused === undefined) continue;
      consumer = fused;
      draft.replace(at, fused);
    }
  }
  return eliminateDeadCode({ ...program, ops: draft.ops });
}

/** One reader takes a value whole; of several, all must be able to, and the value must be cheap to compute again. */
function worthwhile(draft: Draft, from: number, id: ValueId): boolean {
  const { values } = draft.program;
  const producer = draft.ops[from] as OpOf<"map">;
  const expr = producer.attrs.exprs[producer.outputs.indexOf(id)]!;
  if (draft.outputs.has(id)) return false;
  // Outputs of one map may share work, which parting them would repeat.
  if (producer.outputs.length > 1 && isExpensive(expr)) return false;
  const all = draft.readersOf(id);
  if (all.length <= 1) return true;
  const size = sizeOf(values[id]!.shape);
  const wide = producer.inputs.filter((input) => sizeOf(values[input]!.shape) === size);
  if (isExpensive(expr)) return false;
  // Written once (which costs a read too) and read by all, or computed by all from what it is computed from.
  if (all.length * wide.length > wide.length + 2 + all.length) return false;
  return all.every((at) => absorb(draft, from, at, id) !== undefined);
}

/** The consumer with the producer's expression in place of operand `id`, or undefined where that is not possible. */
function absorb(draft: Draft, from: number, at: number, id: ValueId): Elementwise | undefined {
  const { program } = draft;
  const producer = draft.ops[from] as OpOf<"map">;
  const consumer = draft.ops[at]!;
  if (!isElementwise(consumer)) return undefined;
  const expr = producer.attrs.exprs[producer.outputs.indexOf(id)]!;
  const loop = loopShape(program, consumer);
  // The producer's work would be repeated along the axes that it broadcasts over.
  const repeats = sizeOf(program.values[id]!.shape) < sizeOf(loop);
  if (repeats && (isExpensive(expr) || countNodes([expr]) > limits.broadcastNodes)) return undefined;
  if (isRandom(expr) && consumer.kind !== "map" && consumer.kind !== "rows") return undefined;
  const { shape } = program.values[id]!;
  if (some(expr, (node) => node.op === "index" && shape.at(node.axis) !== loop.at(node.axis))) return undefined;
  const targets = keptOperands(consumer);
  if (targets.includes(id) || !draft.canRunLater(from, at)) return undefined;
  const next = inline(
    arithmeticOf(consumer),
    id,
    { expr: asStored(draft, id, expr), inputs: producer.inputs },
    targets,
  );
  const operands = next.inputs.filter((input) => input >= 0).length;
  if (operands > Math.max(limits.operands, consumer.inputs.length)) return undefined;
  if (!small(next.exprs)) return undefined;
  return withArithmetic(program, consumer, next, loop, targets);
}

/**
 * What a reader sees of a half-precision value that it computes itself: a cast rounds, arithmetic keeps its f32 result.
 * Rounding between the steps of a kernel would take more instructions than most steps, and only lose digits.
 */
function asStored({ program }: Draft, id: ValueId, expr: Expr): Expr {
  const { dtype } = program.values[id]!;
  return (dtype === "bf16" || dtype === "f16") && expr.op === "input" ? { op: dtype, x: expr } : expr;
}

/** Operands that stay, read or not. */
function keptOperands(op: Elementwise): readonly ValueId[] {
  if (op.kind === "rows") return stageIds(op);
  return op.kind === "update" ? op.attrs.targets.map((target) => op.inputs[target]!) : [];
}

function arithmeticOf(op: Elementwise): Arithmetic {
  if (op.kind === "rows") return rowArithmetic(op);
  if (op.kind === "reduce") return { exprs: reducedExprs(op.attrs), inputs: op.inputs };
  return { exprs: op.attrs.exprs, inputs: op.inputs };
}

function withArithmetic(
  program: Program,
  op: Elementwise,
  { exprs, inputs }: Arithmetic,
  loop: Shape,
  targets: readonly ValueId[],
): Elementwise | undefined {
  switch (op.kind) {
    case "map":
      return { ...op, inputs, attrs: { exprs, shape: loop, ...typed(op.attrs.dtypes ?? []) } };
    case "update":
      return { ...op, inputs, attrs: { ...op.attrs, exprs, targets: targets.map((id) => inputs.indexOf(id)) } };
    case "rows":
      return withRowArithmetic(op, { exprs, inputs });
    case "reduce": {
      return sameShape(spanOf(program, inputs), loop) ? { ...op, inputs, attrs: { ...op.attrs, exprs } } : undefined;
    }
  }
}

/** The shape that the op loops over. */
function loopShape(program: Program, op: Elementwise): Shape {
  if (op.kind === "rows") return op.attrs.shape;
  if (op.kind === "map") return program.values[op.outputs[0]!]!.shape;
  return spanOf(program, op.inputs);
}

/** Bounds the tree, which repeats shared parts, before the distinct nodes are counted. */
function small(exprs: readonly Expr[]): boolean {
  let left: number = limits.treeNodes;
  const visit = (node: Expr): boolean => --left >= 0 && childrenOf(node).every(visit);
  return exprs.every(visit) && countNodes(exprs) <= limits.nodes;
}
