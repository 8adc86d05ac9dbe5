// Products whose transpose is computed into scratch, and from there the result: the right operand is then the wider one.
import { bytesOf, type FloatType } from "../../plan.ts";
import { Argument } from "./native.ts";
import {
  asTheyLie,
  bindPrimitive,
  type Implementation,
  type Operand,
  type Runtime,
  reorderBetween,
  roundUp,
  sequence,
  withDescriptors,
} from "./primitive.ts";

/** The result: by what name it goes among the addresses, and how it shall lie. */
export interface Turned<Addresses> {
  readonly name: keyof Addresses;
  readonly rows: number;
  readonly columns: number;
  readonly type: FloatType;
}

/** Of `product`, which gives the transpose. */
export function transposed<Addresses extends object>(
  runtime: Runtime,
  { name, rows, columns, type }: Turned<Addresses>,
  product: Implementation<Addresses> | undefined,
): Implementation<Addresses> | undefined {
  if (product === undefined) return undefined;
  const common = { argument: Argument.source, type, dims: [rows, columns], written: false };
  const ends: Operand[] = [
    { ...common, strides: [1, rows] },
    { ...common, strides: [columns, 1] },
  ];
  const turn = withDescriptors(runtime.library, ends, asTheyLie, (from, to) =>
    reorderBetween(runtime.library, from!, to!),
  );
  const bytes = roundUp(rows * columns * bytesOf[type]);
  return {
    scratchBytes: bytes + Math.max(turn.scratchBytes, product.scratchBytes),
    bind(at) {
      const { scratch } = at;
      const rest = { scratch: scratch + bytes, scratchBytes: at.scratchBytes - bytes };
      const ways = { [Argument.source]: scratch, [Argument.destination]: at[name] as number };
      return sequence([
        product.bind({ ...at, [name]: scratch, ...rest }),
        bindPrimitive(runtime, turn, ways, rest.scratch),
      ]);
    },
  };
}
