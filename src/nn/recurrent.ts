// Recurrent layers over sequences [B,T,I], with PyTorch's gates and formulas so that its weights can be read.
import { constant } from "../kernels/expr.ts";
import { dropout, type Init, ShapeError, type Tensor, type TraceContext } from "../program/index.ts";
import { expectSizes } from "./options.ts";

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

export interface LstmOptions extends RecurrentOptions {
  /** States and cells before the first step, [layers, B, H]; default zeros. */
  readonly initialState?: { readonly hidden: Tensor; readonly cell: Tensor };
}

export interface GruOptions extends RecurrentOptions {
  /** States before the first step, [layers, B, H]; default zeros. */
  readonly initialState?: Tensor;
}

/**
 * Long short-term memory (Hochreiter & Schmidhuber 1997): x [B,T,I] → the states [B,T,H] of the last layer.
 * Parameters NAME/l/weight-ih [I,4H], NAME/l/weight-hh [H,4H], NAME/l/bias-ih and NAME/l/bias-hh [4H], gates i, f, g, o.
 */
export function lstm(ctx: TraceContext, name: string, x: Tensor, options: LstmOptions): Tensor {
  const { initialState, ...rest } = options;
  check(`lstm ${name}`, x, options, initialState);
  return stack(ctx, name, x, rest, 4, ({ layer, y, weightIh, biasIh, weightHh, biasHh }) => {
    // Both biases are added before the gates: one sum does for both.
    const projected = project(y, weightIh, biasIh.add(biasHh));
    const hidden = stateOf(y, options.units, layer, initialState?.hidden);
    const cell = stateOf(y, options.units, layer, initialState?.cell);
    return y.emit("lstm", [projected, weightHh, hidden, cell], {});
  });
}

/**
 * Gated recurrent unit (arXiv 1406.1078), the reset gate applied after the recurrent product as in PyTorch:
 * x [B,T,I] → [B,T,H]. Parameters as those of `lstm`, with gates r, z, n.
 */
export function gru(ctx: TraceContext, name: string, x: Tensor, options: GruOptions): Tensor {
  const { initialState, ...rest } = options;
  check(`gru ${name}`, x, options, initialState && { hidden: initialState });
  return stack(ctx, name, x, rest, 3, ({ layer, y, weightIh, biasIh, weightHh, biasHh }) => {
    const hidden = stateOf(y, options.units, layer, initialState);
    return y.emit("gru", [project(y, weightIh, biasIh), weightHh, biasHh, hidden], {});
  });
}

function check(
  layer: string,
  x: Tensor,
  { units, layers = 1 }: RecurrentOptions,
  states: Readonly<Record<string, Tensor>> = {},
): void {
  if (x.rank !== 3) throw new ShapeError(`${layer}: expected sequences [B,T,I], got [${x.shape.join(",")}]`);
  expectSizes(layer, { units, layers });
  const expected = [layers, x.shape[0], units].join(",");
  for (const [what, { shape }] of Object.entries(states)) {
    if (shape.join(",") !== expected) {
      throw new ShapeError(
        `${layer}: the initial ${what} must be [layers,B,H] = [${expected}], got [${shape.join(",")}]`,
      );
    }
  }
}

interface Layer {
  /** Which of the stack, from 0. */
  readonly layer: number;
  /** Its input [T,B,I]. */
  readonly y: Tensor;
  readonly weightIh: Tensor;
  readonly biasIh: Tensor;
  readonly weightHh: Tensor;
  readonly biasHh: Tensor;
}

/** y · weight + bias for all steps: one matrix, so that the bias goes into the product. */
function project(y: Tensor, weight: Tensor, bias: Tensor): Tensor {
  const [steps, batch, width] = y.shape as [number, number, number];
  const product = y
    .reshape([steps * batch, width])
    .matmul(weight)
    .add(bias);
  return product.reshape([steps, batch, -1]);
}

/** What a layer starts from, [B,H]: its part of [layers,B,H], or zeros. */
function stateOf(y: Tensor, units: number, layer: number, states?: Tensor): Tensor {
  const shape = [y.shape[1]!, units];
  if (states === undefined) return y.emit("map", [], { exprs: [constant(0)], shape });
  return states.slice(0, layer, layer + 1).reshape(shape);
}

function stack(
  ctx: TraceContext,
  name: string,
  x: Tensor,
  { units, layers = 1, dropout: rate = 0, init = { kind: "uniform", scale: 1 / Math.sqrt(units) } }: RecurrentOptions,
  gates: number,
  run: (layer: Layer) => Tensor,
): Tensor {
  return ctx.scope(name, () => {
    // Time first: the rows of a step lie together.
    let y = x.transpose([1, 0, 2]);
    for (let layer = 0; layer < layers; layer++) {
      if (layer > 0) y = dropout(y, { rate });
      y = ctx.scope(String(layer), () => {
        const weightIh = ctx.parameter("weight-ih", [y.shape[2]!, gates * units], init);
        const weightHh = ctx.parameter("weight-hh", [units, gates * units], init);
        const biasIh = ctx.parameter("bias-ih", [gates * units], init);
        const biasHh = ctx.parameter("bias-hh", [gates * units], init);
        return run({ layer, y, weightIh, biasIh, weightHh, biasHh });
      });
    }
    return y.transpose([1, 0, 2]);
  });
}
