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
  return `${shape.m}×${shape.k} · ${shape.k}×${shape.n}${flags.length ? ` (${flags.join(", ")})` : ""}`;
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
  for (const [what, elements] of [
    ["a", shape.m * shape.k],
    ["b", shape.k * shape.n],
    ["c", shape.m * shape.n],
  ] as const) {
    if (elements > MAX_HEAP_BYTES / 4) {
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
