// What every provider must fulfil in products of batches, of strided operands and of half-precision types.
import type { Heap } from "../../memory/index.ts";
import type { MatmulShape, Provider } from "../provider.ts";
import { multiply } from "../testing-loops.ts";
import { matmulOperands } from "../testing-plain.ts";
import { absolute, checkWork, text } from "./contract-work.ts";

/** `bias` says whether there is one. Gaps between the rows of c must stay as they are. @throws as `checkWork`. */
export function checkBatch(heap: Heap, provider: Provider, shape: MatmulShape, seed = 1): Uint8Array[] {
  const { bias: hasBias, ...rest } = shape;
  const { activation, ...sum } = shape;
  return checkWork(heap, provider, {
    ...{ what: text("matmul", shape), operands: matmulOperands(shape), seed },
    ...(shape.accumulate && { sums: ["c"] }),
    scratchBytes: (subject) => subject.scratchBytes(shape),
    bind: (subject, at, scratch) =>
      subject.matmul({
        ...{ ...rest, a: at.a!, b: at.b!, c: at.c!, ...scratch },
        ...(hasBias !== undefined && { bias: at.bias! }),
      }),
    expect: ({ a, b, c, bias }) => multiply(shape, { a: a!, b: b!, c: c!, ...(bias && { bias }) }),
    magnitudes: (numbers) => {
      const { a, b, c, bias } = absolute(numbers);
      multiply(sum, { a: a!, b: b!, c: c!, ...(bias && { bias }) });
      // Of a sum of any size, sigmoid and tanh themselves are right to units in the last place of 1.
      if (activation !== undefined) numbers.c!.set(c!.map((size) => size + 1));
      else numbers.c!.set(c!);
    },
  });
}
