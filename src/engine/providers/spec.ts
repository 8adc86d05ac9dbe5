// What every provider demands of a matmul before it binds it.
import { MAX_HEAP_BYTES } from "../../memory/index.ts";
import { bytesOf } from "../plan.ts";
import type { MatmulShape, MatmulSpec } from "../provider.ts";

/** A matmul in words, for messages: "512×400 · 400×1 (A transposed)". */
export function describe(shape: MatmulShape): string {
  const flags = [
    shape.transposeA && "A transposed",
    shape.transposeB && "B transposed",
    shape.bias !== undefined && "bias",
    shape.activation,
    shape.accumulate && "accumulate",
  ].filter(Boolean);
  const batch = shape.batch?.length ? `[${shape.batch}] of ` : "";
  return `${batch}${shape.m}×${shape.k} · ${shape.k}×${shape.n}${flags.length ? ` (${flags.join(", ")})` : ""}`;
}

/** @throws RangeError or TypeError that names the field when the shape cannot be computed. */
export function checkShape(shape: MatmulShape): void {
  for (const name of ["m", "n", "k"] as const) {
    const value = shape[name];
    const least = name === "k" ? 0 : 1;
    if (!Number.isInteger(value) || value < least || value > 0x7fffffff) {
      throw new RangeError(`matmul: ${name} is ${value}, expected an integer from ${least} to 2147483647.`);
    }
  }
  for (const length of shape.batch ?? []) {
    if (Number.isInteger(length) && length >= 1) continue;
    throw new RangeError(`matmul ${describe(shape)}: batch is [${shape.batch}], expected integers from 1.`);
  }
  if (shape.strides !== undefined || shape.batch?.length) checkStrides(shape);
  const entries = (shape.batch ?? []).reduce((product, length) => product * length, 1);
  for (const [what, elements] of [
    ["a", entries * shape.m * shape.k],
    ["b", entries * shape.k * shape.n],
    ["c", entries * shape.m * shape.n],
  ] as const) {
    if (elements * bytesOf[shape.types?.[what] ?? "f32"] > MAX_HEAP_BYTES) {
      throw new RangeError(
        `matmul ${describe(shape)}: ${what} has ${elements} elements, more than the largest heap (16 GiB) holds.`,
      );
    }
  }
  if (shape.accumulate && (shape.bias !== undefined || shape.activation !== undefined)) {
    throw new TypeError(
      `matmul ${describe(shape)}: accumulate excludes bias and activation; apply them in an op of their own.`,
    );
  }
}

/** Strides come with a batch, and say all of how operands lie. */
function checkStrides(shape: MatmulShape): void {
  const { m, n, k, batch = [], strides, transposeA, transposeB } = shape;
  const what = `matmul ${describe(shape)}`;
  if (strides === undefined) throw new TypeError(`${what}: a batch needs strides; give them for dense operands too.`);
  if (transposeA || transposeB) {
    throw new TypeError(`${what}: strides exclude transposeA and transposeB; swap the last two strides instead.`);
  }
  for (const [name, rows, columns] of [["a", m, k] as const, ["b", k, n] as const, ["c", m, n] as const]) {
    const list = strides[name];
    const text = `strides.${name} is [${list}]`;
    if (list.length !== batch.length + 2 || !list.every((stride) => Number.isInteger(stride) && stride >= 0)) {
      throw new RangeError(`${what}: ${text}, expected ${batch.length + 2} integers from 0.`);
    }
    const [row, column] = list.slice(-2) as [number, number];
    if (column !== 1 && row !== 1 && rows > 1 && columns > 1) {
      throw new RangeError(`${what}: ${text}, expected one of the last two to be 1.`);
    }
  }
  if (shape.bias !== undefined && strides.c.at(-1) !== 1 && n > 1) {
    throw new TypeError(`${what}: strides.c is [${strides.c}], but a bias needs rows of c that are contiguous.`);
  }
}

/** As `checkShape`, and every address must be aligned and inside the largest heap, and the scratch large enough. */
export function checkSpec(spec: MatmulSpec, scratchBytes: number): void {
  checkShape(spec);
  for (const name of ["a", "b", "c", "bias", "scratch"] as const) {
    const value = spec[name];
    if (value === undefined && name === "bias") continue;
    const bytes = name === "a" || name === "b" || name === "c" ? bytesOf[spec.types?.[name] ?? "f32"] : 4;
    if (!Number.isInteger(value) || value! < 0 || value! >= MAX_HEAP_BYTES || value! % bytes !== 0) {
      throw new RangeError(
        `matmul ${describe(spec)}: address ${name} is ${value}, expected a byte address below 2^34 that is a multiple of ${bytes}.`,
      );
    }
  }
  if (spec.scratchBytes < scratchBytes) {
    throw new RangeError(
      `matmul ${describe(spec)}: ${spec.scratchBytes} bytes of scratch, ${scratchBytes} needed; ask provider.scratchBytes(shape).`,
    );
  }
}
