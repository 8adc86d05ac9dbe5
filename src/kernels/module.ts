// Functions to a WebAssembly binary: a module with one imported shared memory.
import { type AddressType, maximumPages } from "../memory/index.ts";
import { Bytes } from "./bytes.ts";
import { type FunctionBuilder, valueType } from "./wasm.ts";

/** Writes section `id` with one entry for each item. */
function section<T>(
  out: Bytes,
  id: number,
  items: readonly T[],
  write: (entry: Bytes, item: T, i: number) => void,
): void {
  const body = new Bytes();
  body.unsigned(items.length);
  for (const [i, item] of items.entries()) write(body, item, i);
  out.byte(id);
  out.sized(body.written);
}

const HEADER = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const SHARED_WITH_MAXIMUM = 0x03;
const ADDRESSES_OF_64_BITS = 0x04;

/**
 * A module that imports `env.memory` (shared, as large as a heap with these addresses may be) and exports each function
 * under its name. All functions have the module's type of addresses.
 */
export function assemble(
  functions: readonly { readonly name: string; readonly body: FunctionBuilder }[],
  addressType: AddressType,
): Uint8Array<ArrayBuffer> {
  const parameterType = addressType === "i64" ? valueType.f64 : valueType.i32;
  const arities = [...new Set(functions.map(({ body }) => body.parameters))];
  const out = new Bytes();
  out.append(HEADER);
  section(out, 1, arities, (entry, arity) => {
    entry.byte(0x60);
    entry.sized(new Uint8Array(arity).fill(parameterType));
    entry.byte(0);
  });
  section(out, 2, ["memory"], (entry, name) => {
    entry.text("env");
    entry.text(name);
    entry.byte(0x02);
    entry.byte(SHARED_WITH_MAXIMUM | (addressType === "i64" ? ADDRESSES_OF_64_BITS : 0));
    entry.unsigned(1);
    entry.unsigned(maximumPages[addressType]);
  });
  section(out, 3, functions, (entry, { body }) => entry.unsigned(arities.indexOf(body.parameters)));
  section(out, 7, functions, (entry, { name }, i) => {
    entry.text(name);
    entry.byte(0x00);
    entry.unsigned(i);
  });
  section(out, 10, functions, (entry, { body }) => entry.sized(body.finish()));
  return out.written;
}
