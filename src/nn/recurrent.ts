// Recurrent layers over sequences [B,T,I], with PyTorch's gates and formulas so that its weights can be read.
import { dropout, emit, type Init, type Tensor, type TraceContext } from "../program/index.ts";

export interface RecurrentOptions {
  /** H: width of the state. */
  readonly units: number;
  /** Layers on top of each other; default 1. */
  readonly layers?: number;
  /** Share of a layer's results dropped in training on their way to the next; default 0. */
  readonly dropout?: number;
  /** Of all weights and biases; default uniform within ±1/√H, as PyTorch has it. */
  readonly init?: Init;
}

/**
 * Long short-term memory (Hochreiter & Schmidhuber 1997): x [B,T,I] → the states [B,T,H] of the last layer, from zeros.
 * Parameters NAME/l/weight-ih [I,4H], NAME/l/weight-hh [H,4H], NAME/l/bias-ih and NAME/l/bias-hh [4H], gates i, f, g, o.
 */
export function lstm(ctx: TraceContext, name: string, x: Tensor, options: RecurrentOptions): Tensor {
  return stack(ctx, name, x, options, 4, ({ steps, weight, biasHh, zero }) => {
    const [y] = emit(steps.trace, "lstm", [steps.add(biasHh), weight, zero, zero], {});
    return y!;
  });
}

/**
 * Gated recurrent unit (arXiv 1406.1078), reset before the product's bias is added as in PyTorch: x [B,T,I] → [B,T,H].
 * Parameters as those of `lstm`, with gates r, z, n.
 */
export function gru(ctx: TraceContext, name: string, x: Tensor, options: RecurrentOptions): Tensor {
  return stack(ctx, name, x, options, 3, ({ steps, weight, biasHh, zero }) => {
    const [y] = emit(steps.trace, "gru", [steps, weight, biasHh, zero], {});
    return y!;
  });
}

interface Layer {
  /** Projected inputs [T,B,gates·H], with their bias. */
  readonly steps: Tensor;
  readonly weight: Tensor;
  readonly biasHh: Tensor;
  /** [B,H] of zeros. */
  readonly zero: Tensor;
}

function stack(
  ctx: TraceContext,
  name: string,
  x: Tensor,
  { units, layers = 1, dropout: rate = 0, init = { kind: "uniform", scale: 1 / Math.sqrt(units) } }: RecurrentOptions,
  gates: number,
  run: (layer: Layer) => Tensor,
): Tensor {
  const [batch, length] = x.shape as [number, number];
  return ctx.scope(name, () => {
    // Time first: the rows of a step lie together.
    let y = x.transpose([1, 0, 2]);
    for (let layer = 0; layer < layers; layer++) {
      if (layer > 0) y = dropout(y, { rate });
      y = ctx.scope(String(layer), () => {
        const width = y.shape[2]!;
        const weightIh = ctx.parameter("weight-ih", [width, gates * units], init);
        const weight = ctx.parameter("weight-hh", [units, gates * units], init);
        const biasIh = ctx.parameter("bias-ih", [gates * units], init);
        const biasHh = ctx.parameter("bias-hh", [gates * units], init);
        const projected = y
          .reshape([length * batch, width])
          .matmul(weightIh)
          .add(biasIh);
        const [zero] = emit(y.trace, "map", [], { exprs: [{ op: "const", value: 0 }], shape: [batch, units] });
        return run({ steps: projected.reshape([length, batch, gates * units]), weight, biasHh, zero: zero! });
      });
    }
    return y.transpose([1, 0, 2]);
  });
}
