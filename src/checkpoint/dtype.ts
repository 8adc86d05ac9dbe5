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

const viewsOfDType: Partial<Record<SafetensorsDType, string>> = {
  I8: "Int8Array",
  I16: "Int16Array",
  U16: "Uint16Array",
  F16: "Float16Array",
  I32: "Int32Array",
  U32: "Uint32Array",
  F32: "Float32Array",
  I64: "BigInt64Array",
  U64: "BigUint64Array",
  F64: "Float64Array",
};

/** Whether a typed array may hold elements of `dtype`: its own array type, or plain bytes. */
export function viewFitsDType(view: ArrayBufferView, dtype: SafetensorsDType): boolean {
  return view instanceof Uint8Array || view.constructor.name === viewsOfDType[dtype];
}
