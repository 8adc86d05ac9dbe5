// The number types of the safetensors format and the typed arrays that hold them.

/** Bytes of one element, by the format's name of its type. */
export const bytesOfDType = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
} as const;

export type SafetensorsDType = keyof typeof bytesOfDType;

export function isDType(name: unknown): name is SafetensorsDType {
  return typeof name === "string" && Object.hasOwn(bytesOfDType, name);
}
