// Half-precision operands by WASM: f32 copies in scratch memory before the work, rounded results after it.
import { type Heap, instantiate } from "../../../memory/index.ts";
import { bytesOf, type FloatType } from "../../plan.ts";

type Convert = (from: number, to: number, n: number) => void;
/** Of rows that lie apart on one side: `stride` bytes there, dense f32 on the other. */
type ReadRows = (from: number, stride: number, to: number, rows: number, n: number) => void;
type WriteRows = (from: number, to: number, stride: number, rows: number, n: number) => void;
type HalfKernels = Record<"fromBf16" | "toBf16" | "fromF16" | "toF16", Convert> &
  Record<"rowsFromBf16" | "rowsFromF16", ReadRows> &
  Record<"rowsToBf16" | "rowsToF16", WriteRows>;

const ALIGNMENT = 64;

/** Bytes that lie apart from what follows. */
export const padded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Bytes of scratch for the f32 copy of `n` elements; none where they are f32. */
export const copyBytes = (type: FloatType, n: number): number => (type === "f32" ? 0 : padded(n * bytesOf.f32));

/** Gives out pieces of a scratch block one after the other. */
export class ScratchBlock {
  #at: number;

  constructor(address: number) {
    this.#at = address;
  }

  /** The address of the next piece. */
  take(bytes: number): number {
    const address = this.#at;
    this.#at += padded(bytes);
    return address;
  }
}

export interface Converter {
  /** f32 numbers from `n` elements of a type. */
  read(type: FloatType, from: number, to: number, n: number): () => void;
  /** Elements of a type from `n` f32 numbers. */
  write(type: FloatType, from: number, to: number, n: number): () => void;
  /** The same of rows that lie `stride` bytes apart, to and from rows of `n` f32 numbers without gaps. */
  readRows(type: FloatType, ...rows: Parameters<ReadRows>): () => void;
  writeRows(type: FloatType, ...rows: Parameters<WriteRows>): () => void;
}

const nothing = (): void => {};

export function converter(heap: Heap): Converter {
  const { fromBf16, toBf16, fromF16, toF16, ...rowsOf } = instantiate<HalfKernels>("half", heap);
  const { rowsFromBf16, rowsToBf16, rowsFromF16, rowsToF16 } = rowsOf;
  return {
    read(type, from, to, n) {
      if (type === "f32") return nothing;
      return type === "bf16" ? () => fromBf16(from, to, n) : () => fromF16(from, to, n);
    },
    write(type, from, to, n) {
      if (type === "f32") return nothing;
      return type === "bf16" ? () => toBf16(from, to, n) : () => toF16(from, to, n);
    },
    readRows(type, from, stride, to, rows, n) {
      const kernel = type === "bf16" ? rowsFromBf16 : rowsFromF16;
      return () => kernel(from, stride, to, rows, n);
    },
    writeRows(type, from, to, stride, rows, n) {
      const kernel = type === "bf16" ? rowsToBf16 : rowsToF16;
      return () => kernel(from, to, stride, rows, n);
    },
  };
}

/** Calls one after the other. */
export function runAll(calls: readonly (() => void)[]): () => void {
  return () => {
    for (let i = 0; i < calls.length; i++) calls[i]!();
  };
}
