// fm against the reference, over shapes that do not fill vectors.
import fc from "fast-check";
import { describe, test } from "vitest";
import type { Tensor } from "../testing.ts";
import { expectReference, extent, tensors } from "./against-reference.ts";

const runs = { numRuns: 50 };
const scaled = (x: Tensor, factor: number): Tensor => ({ ...x, data: x.data.map((v) => Math.fround(v * factor)) });

describe("factorisation machine", () => {
  const shape = fc.tuple(fc.nat(5), fc.nat(7), fc.oneof(extent, fc.constantFrom(20, 48)));

  test("fm", () => {
    fc.assert(
      fc.property(
        shape.chain((s) => tensors(s)),
        ([x]) => void expectReference({ kind: "fm", inputs: [scaled(x!, 0.25)] }, 2e-4),
      ),
      runs,
    );
  });

  test("fm_grad", () => {
    const cases = shape.chain(([batch, fields, dim]) => tensors([batch, 1], [batch, fields, dim], [batch, dim]));
    fc.assert(
      fc.property(cases, (inputs) => void expectReference({ kind: "fm_grad", inputs }, 1e-5)),
      runs,
    );
  });
});
