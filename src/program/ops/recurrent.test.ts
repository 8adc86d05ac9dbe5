// LSTM and GRU over sequences: gradients against central differences, shapes refused by name.
import { describe, expect, it } from "vitest";
import { gru, lstm } from "../../nn/index.ts";
import type { TensorType } from "../ir.ts";
import { checkFunction } from "../testing.ts";
import { trace } from "../trace.ts";

const f32 = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });

describe.each([
  ["lstm", 4],
  ["gru", 3],
] as const)("%s", (kind, gates) => {
  const [steps, rows, units] = [3, 2, 2];
  const inputs = {
    xw: f32(steps, rows, gates * units),
    weight: f32(units, gates * units),
    bias: f32(gates * units),
    h0: f32(rows, units),
    c0: f32(rows, units),
  };

  it("has the gradients of central differences", () => {
    checkFunction(
      ({ xw, weight, bias, h0, c0 }) =>
        kind === "lstm" ? xw.emit("lstm", [xw, weight, h0, c0], {}) : xw.emit("gru", [xw, weight, bias, h0], {}),
      { inputs, seed: 3, fixed: kind === "lstm" ? ["bias"] : ["c0"] },
    );
  });

  it("as a layer too, with several layers over each other", () => {
    const layer = { lstm, gru }[kind];
    checkFunction(({ x }, ctx) => layer(ctx, "layer", x, { units: 2, layers: 2 }), {
      inputs: { x: f32(2, 3, 2) },
      seed: 4,
    });
  });

  it("refuses shapes that do not fit", () => {
    const bad = { ...inputs, weight: f32(units + 1, gates * units) };
    expect(() =>
      trace(
        ({ xw, weight, bias, h0, c0 }) =>
          kind === "lstm" ? xw.emit("lstm", [xw, weight, h0, c0], {}) : xw.emit("gru", [xw, weight, bias, h0], {}),
        { inputs: bad },
      ),
    ).toThrow(/the recurrent weight must have shape \[2,/);
  });
});
