// bf16 and f16 in f32 lanes: reading, and rounding to the nearest with ties to even, in integer instructions. An element
// of 16 bits stands in the low half of its lane. Half-precision conversion after Fabian Giesen's float_to_half_fast3_rtne
// and half_to_float_fast5: no table, no branch, and no arithmetic on subnormal f32 numbers, which some machines do slowly.
import type { Graph, NodeId } from "./graph.ts";
import type { FloatType } from "./half.ts";
import { simd } from "./wasm.ts";

export type HalfType = Exclude<FloatType, "f32">;

const SIGN_BIT = 0x80000000;
/** f32 exponents: the difference to those of f16, that of its smallest normal number, the first beyond its largest one. */
const F16 = { rebias: 112, normal: 113, beyond: 143 } as const;
const exponent = (biased: number): number => biased * 2 ** 23;
/** Adding this f32 number, 1/2, to one below 2^-14 leaves its f16 mantissa, rounded, in the low bits of the sum. */
const SUBNORMAL_MAGIC = exponent(F16.normal + 13);

const fromF16 = (g: Graph, bits: NodeId): NodeId => {
  const magnitude = g.shift(simd.shl, g.op(simd.and, bits, g.bits(0x7fff)), 13);
  const normal = g.op(simd.i32Add, magnitude, g.bits(exponent(F16.rebias)));
  const special = g.op(simd.i32Add, magnitude, g.bits(exponent(2 * F16.rebias)));
  // 2^-14 · (1 + mantissa) - 2^-14 is exact.
  const smallest = g.bits(exponent(F16.normal));
  const subnormal = g.op(simd.sub, g.op(simd.i32Add, magnitude, smallest), smallest);
  const finite = g.op(simd.bitselect, subnormal, normal, g.op(simd.i32Lt, magnitude, g.bits(exponent(1))));
  const value = g.op(simd.bitselect, special, finite, g.op(simd.i32Gt, magnitude, g.bits(exponent(31) - 1)));
  return g.op(simd.or, value, g.shift(simd.shl, g.op(simd.and, bits, g.bits(0x8000)), 16));
};

/** The nearest bf16 number in the upper 16 bits of each lane, a NaN for NaN; what is below them is left over. */
export const roundUpperHalf = (g: Graph, x: NodeId): NodeId => {
  const odd = g.op(simd.and, g.shift(simd.shrU, x, 16), g.bits(1));
  const rounded = g.op(simd.i32Add, g.op(simd.i32Add, x, g.bits(0x7fff)), odd);
  // A carry turns some NaNs into numbers: all bits make a NaN of them again.
  return g.op(simd.or, rounded, g.op(simd.ne, x, x));
};

/** The f16 element that is nearest to an f32 number; a NaN stays one. */
export const toF16 = (g: Graph, x: NodeId): NodeId => {
  const sign = g.op(simd.and, x, g.bits(SIGN_BIT));
  const magnitude = g.op(simd.xor, x, sign);
  const odd = g.op(simd.and, g.shift(simd.shrU, magnitude, 13), g.bits(1));
  const shifted = g.op(simd.i32Add, magnitude, g.bits(0xfff - exponent(F16.rebias)));
  const normal = g.shift(simd.shrU, g.op(simd.i32Add, shifted, odd), 13);
  const magic = g.bits(SUBNORMAL_MAGIC);
  const subnormal = g.op(simd.i32Sub, g.op(simd.add, magnitude, magic), magic);
  const isSubnormal = g.op(simd.i32Lt, magnitude, g.bits(exponent(F16.normal)));
  const finite = g.op(simd.bitselect, subnormal, normal, isSubnormal);
  const special = g.op(simd.bitselect, g.bits(0x7e00), g.bits(0x7c00), g.op(simd.ne, x, x));
  const beyond = g.op(simd.i32Gt, magnitude, g.bits(exponent(F16.beyond) - 1));
  const bits = g.op(simd.bitselect, special, finite, beyond);
  return g.op(simd.or, bits, g.shift(simd.shrU, sign, 16));
};

/** The f32 numbers of an operand's elements. */
export function loadHalf(g: Graph, type: HalfType, operand: number): NodeId {
  return type === "bf16" ? g.load(operand, true) : fromF16(g, g.load(operand));
}

/** The number of the type that is nearest to an f32 number, as f32. */
export function roundToHalf(g: Graph, type: HalfType, x: NodeId): NodeId {
  if (type === "f16") return fromF16(g, toF16(g, x));
  return g.op(simd.and, roundUpperHalf(g, x), g.bits(0xffff0000));
}
