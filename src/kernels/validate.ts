// Checks kernel specifications before any code is emitted: what is wrong, where, and what would be right.
import type { Expr } from "./expr.ts";
import { broadcastsTo } from "./loops.ts";
import type { KernelInput, MapKernel, ReduceKernel, RowsKernel, RowUpdateKernel } from "./spec.ts";

const list = (sizes: readonly number[]): string => `[${sizes.join(", ")}]`;

function checkShape(where: string, shape: readonly number[]): void {
  for (const size of shape) {
    if (!Number.isInteger(size) || size < 0) {
      throw new RangeError(`${where} has shape ${list(shape)}: sizes must be integers from 0`);
    }
  }
}

function checkInputs(where: string, inputs: readonly KernelInput[], shape: readonly number[]): void {
  checkShape(where, shape);
  for (const [i, input] of inputs.entries()) {
    checkShape(`input ${i} of ${where}`, input.shape);
    if (!broadcastsTo(input.shape, shape)) {
      throw new RangeError(
        `input ${i} of ${where} has shape ${list(input.shape)}, which does not broadcast to ${list(shape)}: ` +
          "each of its dimensions, from the last, must be 1 or the same",
      );
    }
  }
}

/** @param rank of the loop's shape; undefined in a row, which has no counters */
function checkExpr(where: string, expr: Expr, operands: number, rank: number | undefined): void {
  const inRow = rank === undefined;
  switch (expr.op) {
    case "input":
      if (!Number.isInteger(expr.index) || expr.index < 0 || expr.index >= operands) {
        throw new RangeError(`${where} reads operand ${expr.index}, but there are ${operands}`);
      }
      return;
    case "const":
      return;
    case "uniform":
      if (inRow) throw new Error(`${where} uses uniform, which has no counter in an update rule of sparse rows`);
      checkExpr(where, expr.seed, operands, rank);
      return;
    case "index":
      if (inRow || !Number.isInteger(expr.axis) || expr.axis >= 0 || -expr.axis > rank) {
        throw new RangeError(`${where} uses the index along axis ${expr.axis}: it must be from ${-(rank ?? 0)} to -1`);
      }
      return;
    case "rowMean":
      if (!inRow) throw new Error(`${where} uses rowMean, which is allowed only in update rules of sparse rows`);
      checkExpr(where, expr.x, operands, rank);
      return;
    case "select":
      checkExpr(where, expr.test, operands, rank);
      break;
  }
  checkExpr(where, expr.x, operands, rank);
  if ("y" in expr) checkExpr(where, expr.y, operands, rank);
}

/** @throws RangeError or Error that names the expression or input at fault */
export function checkMap({ exprs, inputs, shape }: MapKernel): void {
  checkInputs("a map kernel", inputs, shape);
  for (const [i, expr] of exprs.entries()) {
    checkExpr(`expression ${i} of a map kernel`, expr, inputs.length, shape.length);
  }
}

/** @throws RangeError or Error that names the expression, input or axis at fault */
export function checkReduce({ exprs, inputs, shape, axes }: ReduceKernel): void {
  checkInputs("a reduce kernel", inputs, shape);
  for (const [i, expr] of exprs.entries()) {
    checkExpr(`expression ${i} of a reduce kernel`, expr, inputs.length, shape.length);
  }
  for (const [i, axis] of axes.entries()) {
    if (!Number.isInteger(axis) || axis < 0 || axis >= shape.length || axes.indexOf(axis) !== i) {
      throw new RangeError(
        `a reduce kernel over shape ${list(shape)} has axes ${list(axes)}: each must be a different integer from 0 ` +
          `to ${shape.length - 1}`,
      );
    }
  }
}

/** @throws RangeError or Error that names the expression or input at fault */
export function checkRows({ stages, exprs, rowExprs, inputs, shape }: RowsKernel): void {
  if (shape.length === 0) throw new RangeError("a rows kernel needs a last axis, its shape is []");
  checkInputs("a rows kernel", inputs, shape);
  const rank = shape.length;
  for (const [i, { expr }] of stages.entries()) {
    checkExpr(`stage ${i} of a rows kernel`, expr, inputs.length + i, rank);
  }
  const operands = inputs.length + stages.length;
  for (const [i, expr] of exprs.entries()) checkExpr(`expression ${i} of a rows kernel`, expr, operands, rank);
  for (const [i, expr] of rowExprs.entries()) checkExpr(`row expression ${i} of a rows kernel`, expr, operands, rank);
}

/** @throws RangeError or Error that names the part of the rule or layout at fault */
export function checkRowUpdate({ rule, dim, weightOffset, slotOffsets, gradientStride }: RowUpdateKernel): void {
  const { slots, scalars, state, weight } = rule;
  if (!Number.isInteger(dim) || dim < 1) throw new RangeError(`a row update has dim ${dim}: it must be at least 1`);
  if (gradientStride !== undefined && !(Number.isInteger(gradientStride) && gradientStride >= dim)) {
    throw new RangeError(`a row update of dim ${dim} has gradientStride ${gradientStride}: it must be at least dim`);
  }
  if (state.length !== slots.length || slotOffsets.length !== slots.length) {
    throw new RangeError(
      `an update rule with ${slots.length} slots has ${state.length} state expressions and its row ` +
        `${slotOffsets.length} slot offsets: all three must agree`,
    );
  }
  for (const offset of [weightOffset, ...slotOffsets]) {
    if (!Number.isInteger(offset) || offset < 0 || offset % 4 !== 0) {
      throw new RangeError(`a row update has the byte offset ${offset}: offsets must be multiples of 4 from 0`);
    }
  }
  const operands = 2 + slots.length + scalars.length;
  checkExpr("an update rule's weight", weight, operands, undefined);
  for (const [i, expr] of state.entries())
    checkExpr(`an update rule's slot "${slots[i]!.name}"`, expr, operands, undefined);
}
