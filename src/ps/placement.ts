// Which partition has what: keys by hash, dense parameters in even pieces. Servers and workers compute the same.
import type { Expr } from "../kernels/index.ts";
import { mix64 } from "../table/index.ts";
import { ruleOf, type ServedModel } from "./spec.ts";

/** Pieces of dense parameters have at least so many elements, but for parameters that are smaller (PaddlePaddle's). */
export const MIN_BLOCK = 8192;
/** Pieces begin at multiples of it. */
const ALIGN = 16;

/** Another hash than the one inside of tables: the keys of a partition would fill only a part of its table. */
const SALT = 0x9e3779b97f4a7c15n;

/** The partition of a key: the reference of `splitKeys`. */
export function partitionOf(key: bigint, partitions: number): number {
  return Number(((mix64(key ^ SALT) >> 32n) * BigInt(partitions)) >> 32n);
}

/** A partition's part of a dense parameter. */
export interface DensePiece {
  /** The parameter's place in the model's list. */
  readonly dense: number;
  readonly partition: number;
  readonly start: number;
  readonly length: number;
}

/**
 * All pieces of all dense parameters. A parameter has at most one piece in a partition; one that is small, or whose rule
 * takes means over the whole of it (LARS, LAMB, AdaGrad with one accumulator), is one piece. Pieces go to the partitions in
 * turn, so that small parameters do not all lie in the first.
 */
export function placeDense({ dense, partitions }: Pick<ServedModel, "dense" | "partitions">): DensePiece[] {
  let next = 0;
  return dense.flatMap(({ length, rule }, index) => {
    const whole = rule !== "value" && !isElementwise(ruleOf(rule));
    const wanted = whole ? 1 : Math.max(1, Math.min(partitions, Math.floor(length / MIN_BLOCK)));
    const size = Math.ceil(length / wanted / ALIGN) * ALIGN;
    const pieces: DensePiece[] = [];
    for (let start = 0; start < length; start += size) {
      pieces.push({ dense: index, partition: next, start, length: Math.min(size, length - start) });
      next = (next + 1) % partitions;
    }
    return pieces;
  });
}

/** Whether each element moves by itself. */
function isElementwise(rule: { readonly weight: Expr; readonly state: readonly Expr[] }): boolean {
  return ![rule.weight, ...rule.state].some((expr) => JSON.stringify(expr).includes('"rowMean"'));
}
