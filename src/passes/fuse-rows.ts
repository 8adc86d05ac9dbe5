// Writes a map into the rows op that it reads: dropout after a softmax or a cast after a norm become further results of the
// same passes, and what is read nowhere else never goes through memory.
import { countNodes } from "../program/expr-tools.ts";
import { type FloatType, type Op, type OpOf, type Program, sameShape } from "../program/ir.ts";
import { typed } from "../program/ops/broadcast.ts";
import { eliminateDeadCode } from "./dead-code.ts";
import { definitionsOf, reordering, usesOf } from "./edit.ts";
import { type Arithmetic, inline, join } from "./operands.ts";
import { rowArithmetic, stageIds, withRowArithmetic } from "./row-arithmetic.ts";

/** Beyond these, a kernel runs out of registers. */
const limits = { operands: 12, nodes: 128 } as const;

/** The program itself where there is nothing to do. */
export function fuseRows(program: Program): Program {
  const ops: (Op | undefined)[] = [...program.ops];
  const { readers } = usesOf(program.ops, program.outputs);
  const definitions = definitionsOf(program.ops);
  const canRunLater = reordering(program.ops);
  for (const [at, op] of program.ops.entries()) {
    if (op.kind !== "map") continue;
    const source = op.inputs.find((id) => ops[definitions.get(id) ?? -1]?.kind === "rows");
    if (source === undefined) continue;
    const from = definitions.get(source)!;
    const rows = ops[from] as OpOf<"rows">;
    // The op that stands for both stands where the map stood: nobody may read its results before.
    const early = rows.outputs.some((id) => readers.get(id)?.some((reader) => reader > from && reader < at));
    if (early || !canRunLater(rows, from, at)) continue;
    const fused = fuse(program, rows, op);
    if (fused === undefined) continue;
    ops[from] = undefined;
    ops[at] = fused;
    for (const id of fused.outputs) definitions.set(id, at);
  }
  const left = ops.filter((op) => op !== undefined);
  return left.length === ops.length ? program : eliminateDeadCode({ ...program, ops: left });
}

/** One op with the results of both, or undefined where they do not go together. */
function fuse(program: Program, rows: OpOf<"rows">, map: OpOf<"map">): OpOf<"rows"> | undefined {
  const { shape, exprs: tensors } = rows.attrs;
  if (!sameShape(program.values[map.outputs[0]!]!.shape, shape)) return undefined;
  const results = rows.outputs.slice(0, tensors.length);
  // A number a row would have to be read as a column.
  if (map.inputs.some((id) => rows.outputs.includes(id) && !results.includes(id))) return undefined;
  const own = rowArithmetic(rows);
  const first = rows.attrs.stages.length;
  let added: Arithmetic = { exprs: map.attrs.exprs, inputs: map.inputs };
  for (const [k, id] of results.entries()) {
    const { dtype } = program.values[id]!;
    const result = own.exprs[first + k]!;
    const expr = dtype === "f32" ? result : { op: dtype as "bf16" | "f16", x: result };
    if (added.inputs.includes(id)) added = inline(added, id, { expr, inputs: own.inputs }, stageIds(rows));
  }
  const joined = join(own, added, first + tensors.length);
  const operands = joined.inputs.filter((id) => id >= 0).length;
  if (operands > limits.operands || countNodes(joined.exprs) > limits.nodes) return undefined;
  const outputs = [...results, ...map.outputs, ...rows.outputs.slice(tensors.length)];
  const dtypes = [...results, ...map.outputs].map((id) => program.values[id]!.dtype as FloatType);
  const { dtypes: _, ...attrs } = rows.attrs;
  const count = tensors.length + map.outputs.length;
  const wider: OpOf<"rows"> = {
    ...rows,
    outputs,
    attrs: { ...attrs, exprs: joined.exprs.slice(first, first + count), ...typed(dtypes) },
  };
  return withRowArithmetic(wider, joined);
}
