// What every provider must fulfil in convolutions and their gradients.
import type { Heap } from "../../memory/index.ts";
import type { ConvShape, Provider } from "../provider.ts";
import { convolve } from "../testing-loops.ts";
import { convOperands } from "../testing-plain.ts";
import { checkWork, text } from "./contract-work.ts";

/** @throws where the provider breaks the contract; else the bytes of the results. */
export function checkConv(heap: Heap, provider: Provider, shape: ConvShape, seed = 1): Uint8Array[] {
  return checkWork(heap, provider, {
    ...{ what: text("conv", shape), operands: convOperands(shape), seed },
    scratchBytes: ({ conv }) => conv.scratchBytes(shape),
    bind: ({ conv }, at, scratch) =>
      conv.bind(shape, {
        ...{ x: at.x!, w: at.w!, y: at.y!, ...scratch },
        ...(shape.bias && { bias: at.bias! }),
      }),
    expect: ({ x, w, y, bias }) => convolve(shape, { x: x!, w: w!, y: y!, ...(bias && { bias }) }),
  });
}
