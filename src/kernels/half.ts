// Half-precision numbers as JavaScript sees them: rounding to bf16 and f16 as kernels do, and reading and writing arrays
// of them. For references, tests and start values; nothing on a hot path calls it.

/** The types that hold real numbers. */
export type FloatType = "f32" | "bf16" | "f16";

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** The bits of the nearest bf16, ties to even. */
export function toBf16Bits(x: number): number {
  float[0] = x;
  const bits = word[0]!;
  if (Number.isNaN(x)) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

export function fromBf16Bits(bits: number): number {
  word[0] = bits << 16;
  return float[0]!;
}

/** bf16 numbers as f32, which has the same bits before 16 zeros. */
export function fromBf16(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
  return new Float32Array(words.buffer);
}

/** The nearest number of a type, ties to even. bf16 and f16 round the f32 number, as kernels do. */
export function roundTo(type: FloatType, x: number): number {
  switch (type) {
    case "f32":
      return Math.fround(x);
    case "bf16":
      return fromBf16Bits(toBf16Bits(x));
    case "f16":
      return Math.f16round(Math.fround(x));
    default:
      return type satisfies never;
  }
}

/** Numbers of a type at `byteOffset` of a buffer, as f32. */
export function readFloats(type: FloatType, buffer: ArrayBufferLike, byteOffset: number, length: number): Float32Array {
  switch (type) {
    case "f32":
      return new Float32Array(buffer, byteOffset, length).slice();
    case "bf16":
      return fromBf16(new Uint16Array(buffer, byteOffset, length));
    case "f16":
      return Float32Array.from(new Float16Array(buffer, byteOffset, length));
    default:
      return type satisfies never;
  }
}

/** Writes numbers, each rounded to the type. */
export function writeFloats(
  type: FloatType,
  buffer: ArrayBufferLike,
  byteOffset: number,
  numbers: ArrayLike<number>,
): void {
  if (type === "f32") new Float32Array(buffer, byteOffset, numbers.length).set(numbers);
  else if (type === "f16") new Float16Array(buffer, byteOffset, numbers.length).set(Array.from(numbers, Math.fround));
  else new Uint16Array(buffer, byteOffset, numbers.length).set(Array.from(numbers, toBf16Bits));
}
