// Recurrent layers over whole sequences, time-major, with PyTorch's gates: LSTM i, f, g, o; GRU r, z, n.
// T steps, B rows, H units. The projections of the inputs are products outside; so are the gradients of the weights, over
// all steps at once.
import { ShapeError } from "../errors.ts";
import type { TensorType, ValueId } from "../ir.ts";
import {
  expectCount,
  expectShape,
  expectType,
  f32,
  type GradientBuilder,
  numbers,
  type OpDefinition,
} from "./definition.ts";

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

interface Extents {
  readonly steps: number;
  readonly rows: number;
  readonly units: number;
}

/** T, B and H from [T,B,gates·H]. */
function extentsOf(xw: TensorType, gates: number): Extents {
  expectType(xw, "f32", "the projected inputs");
  const [steps, rows, width] = xw.shape as [number, number, number];
  if (xw.shape.length !== 3 || width % gates !== 0) {
    throw new ShapeError(`the projected inputs must be [T,B,${gates}·H], got [${xw.shape.join(",")}]`);
  }
  return { steps, rows, units: width / gates };
}

/** The state before each step, as rows of one matrix: h0, then all results but the last. */
function previousStates(builder: GradientBuilder, y: ValueId, h0: ValueId): ValueId {
  const [steps, rows, units] = builder.typeOf(y).shape as [number, number, number];
  const first = builder.emit("reshape", [h0], { shape: [1, rows, units] })[0]!;
  const earlier = builder.emit("slice", [y], { axis: 0, start: 0, end: steps - 1 })[0]!;
  const all = builder.emit("concat", [first, earlier], { axis: 0 })[0]!;
  return builder.emit("reshape", [all], { shape: [steps * rows, units] })[0]!;
}

/** previousᵀ · d over all steps. */
function weightGradient(builder: GradientBuilder, y: ValueId, h0: ValueId, d: ValueId): ValueId {
  const [steps, rows, width] = builder.typeOf(d).shape as [number, number, number];
  const flat = builder.emit("reshape", [d], { shape: [steps * rows, width] })[0]!;
  return builder.emit("matmul", [previousStates(builder, y, h0), flat], { transposeA: true, transposeB: false })[0]!;
}

function onlyStates(what: string, gradients: readonly (ValueId | undefined)[]): ValueId {
  const [dy, ...others] = gradients;
  if (dy === undefined || others.some((gradient) => gradient !== undefined)) {
    throw new ShapeError(`${what}: only its states have a gradient, not what it keeps for itself`);
  }
  return dy;
}

/** xw [T,B,4H], weight [H,4H], h0, c0 [B,H] → y [T,B,H], cells [T,B,H], gates [T,B,4H] after activation. */
export const lstm: OpDefinition<"lstm"> = {
  infer(inputs) {
    expectCount(inputs, 4);
    const [xw, weight, h0, c0] = inputs as [TensorType, TensorType, TensorType, TensorType];
    const { steps, rows, units } = extentsOf(xw, 4);
    expectShape(weight, [units, 4 * units], "the recurrent weight");
    expectShape(h0, [rows, units], "the first state");
    expectShape(c0, [rows, units], "the first cell");
    return [f32(steps, rows, units), f32(steps, rows, units), f32(steps, rows, 4 * units)];
  },
  gradient({ op, builder, outputGradients, needs }) {
    const [, weight, h0, c0] = op.inputs as [ValueId, ValueId, ValueId, ValueId];
    const [y, cells, gates] = op.outputs as [ValueId, ValueId, ValueId];
    const dy = onlyStates("lstm", outputGradients);
    const [dxw, dh0, dc0] = builder.emit("lstm_grad", [dy, gates, cells, weight, c0], {});
    return [dxw, needs[1] ? weightGradient(builder, y, h0, dxw!) : undefined, dh0, dc0];
  },
  reference({ inputs, outputs }) {
    const [xw, weight, h0, c0] = inputs.map(numbers) as [Float64Array, Float64Array, Float64Array, Float64Array];
    const [y, cells, gates] = outputs.map(numbers) as [Float64Array, Float64Array, Float64Array];
    const [steps, rows, units] = outputs[0]!.shape as [number, number, number];
    for (let t = 0; t < steps; t++) {
      for (let b = 0; b < rows; b++) {
        const at = (t * rows + b) * units;
        for (let j = 0; j < 4 * units; j++) {
          let sum = xw[4 * at + j]!;
          for (let k = 0; k < units; k++) {
            sum += (t === 0 ? h0[b * units + k]! : y[at - rows * units + k]!) * weight[k * 4 * units + j]!;
          }
          gates[4 * at + j] = j >= 2 * units && j < 3 * units ? Math.tanh(sum) : sigmoid(sum);
        }
        for (let j = 0; j < units; j++) {
          const [i, f, g, o] = [0, 1, 2, 3].map((gate) => gates[4 * at + gate * units + j]!) as number[];
          const before = t === 0 ? c0[b * units + j]! : cells[at - rows * units + j]!;
          cells[at + j] = f! * before + i! * g!;
          y[at + j] = o! * Math.tanh(cells[at + j]!);
        }
      }
    }
  },
};

/** dy, gates, cells, weight, c0 → dxw, dh0, dc0. */
export const lstm_grad: OpDefinition<"lstm_grad"> = {
  infer(inputs) {
    expectCount(inputs, 5);
    const [dy, gates, cells, weight, c0] = inputs as [TensorType, TensorType, TensorType, TensorType, TensorType];
    const { steps, rows, units } = extentsOf(gates, 4);
    expectShape(dy, [steps, rows, units], "the gradient");
    expectShape(cells, [steps, rows, units], "the cells");
    expectShape(weight, [units, 4 * units], "the recurrent weight");
    expectShape(c0, [rows, units], "the first cell");
    return [f32(...gates.shape), f32(rows, units), f32(rows, units)];
  },
  reference({ inputs, outputs }) {
    const [dy, gates, cells, weight, c0] = inputs.map(numbers) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const [dxw, dh0, dc0] = outputs.map(numbers) as [Float64Array, Float64Array, Float64Array];
    const [steps, rows, units] = inputs[0]!.shape as [number, number, number];
    for (let t = steps - 1; t >= 0; t--) {
      for (let b = 0; b < rows; b++) {
        const at = (t * rows + b) * units;
        for (let j = 0; j < units; j++) {
          const [i, f, g, o] = [0, 1, 2, 3].map((gate) => gates[4 * at + gate * units + j]!) as [
            number,
            number,
            number,
            number,
          ];
          const state = b * units + j;
          const dh = dy[at + j]! + dh0[state]!;
          const tanh = Math.tanh(cells[at + j]!);
          const dc = dc0[state]! + dh * o * (1 - tanh * tanh);
          const before = t === 0 ? c0[state]! : cells[at - rows * units + j]!;
          dxw[4 * at + j] = dc * g * i * (1 - i);
          dxw[4 * at + units + j] = dc * before * f * (1 - f);
          dxw[4 * at + 2 * units + j] = dc * i * (1 - g * g);
          dxw[4 * at + 3 * units + j] = dh * tanh * o * (1 - o);
          dc0[state] = dc * f;
        }
        for (let k = 0; k < units; k++) {
          let sum = 0;
          for (let j = 0; j < 4 * units; j++) sum += dxw[4 * at + j]! * weight[k * 4 * units + j]!;
          dh0[b * units + k] = sum;
        }
      }
    }
  },
};

/** xw [T,B,3H], weight [H,3H], bias [3H], h0 [B,H] → y [T,B,H], gates [T,B,4H]: r, z, n and the recurrent part of n. */
export const gru: OpDefinition<"gru"> = {
  infer(inputs) {
    expectCount(inputs, 4);
    const [xw, weight, bias, h0] = inputs as [TensorType, TensorType, TensorType, TensorType];
    const { steps, rows, units } = extentsOf(xw, 3);
    expectShape(weight, [units, 3 * units], "the recurrent weight");
    expectShape(bias, [3 * units], "the recurrent bias");
    expectShape(h0, [rows, units], "the first state");
    return [f32(steps, rows, units), f32(steps, rows, 4 * units)];
  },
  gradient({ op, builder, outputGradients, needs }) {
    const [, weight, , h0] = op.inputs as [ValueId, ValueId, ValueId, ValueId];
    const [y, gates] = op.outputs as [ValueId, ValueId];
    const dy = onlyStates("gru", outputGradients);
    const [dxw, dhw, dh0] = builder.emit("gru_grad", [dy, gates, y, weight, h0], {});
    const dbias = (): ValueId => builder.emit("reduce", [dhw!], { op: "sum", axes: [0, 1], keepDims: false })[0]!;
    return [dxw, needs[1] ? weightGradient(builder, y, h0, dhw!) : undefined, needs[2] ? dbias() : undefined, dh0];
  },
  reference({ inputs, outputs }) {
    const [xw, weight, bias, h0] = inputs.map(numbers) as [Float64Array, Float64Array, Float64Array, Float64Array];
    const [y, gates] = outputs.map(numbers) as [Float64Array, Float64Array];
    const [steps, rows, units] = outputs[0]!.shape as [number, number, number];
    for (let t = 0; t < steps; t++) {
      for (let b = 0; b < rows; b++) {
        const at = (t * rows + b) * units;
        const before = (k: number): number => (t === 0 ? h0[b * units + k]! : y[at - rows * units + k]!);
        const recurrent = Array.from({ length: 3 * units }, (_, j) => {
          let sum = bias[j]!;
          for (let k = 0; k < units; k++) sum += before(k) * weight[k * 3 * units + j]!;
          return sum;
        });
        for (let j = 0; j < units; j++) {
          const x = (gate: number): number => xw[3 * at + gate * units + j]!;
          const r = sigmoid(x(0) + recurrent[j]!);
          const z = sigmoid(x(1) + recurrent[units + j]!);
          const own = recurrent[2 * units + j]!;
          const n = Math.tanh(x(2) + r * own);
          for (const [gate, value] of [r, z, n, own].entries()) gates[4 * at + gate * units + j] = value;
          y[at + j] = (1 - z) * n + z * before(j);
        }
      }
    }
  },
};

/** dy, gates, y, weight, h0 → dxw [T,B,3H], dhw [T,B,3H], dh0. */
export const gru_grad: OpDefinition<"gru_grad"> = {
  infer(inputs) {
    expectCount(inputs, 5);
    const [dy, gates, y, weight, h0] = inputs as [TensorType, TensorType, TensorType, TensorType, TensorType];
    const { steps, rows, units } = extentsOf(gates, 4);
    expectShape(dy, [steps, rows, units], "the gradient");
    expectShape(y, [steps, rows, units], "the states");
    expectShape(weight, [units, 3 * units], "the recurrent weight");
    expectShape(h0, [rows, units], "the first state");
    return [f32(steps, rows, 3 * units), f32(steps, rows, 3 * units), f32(rows, units)];
  },
  reference({ inputs, outputs }) {
    const [dy, gates, y, weight, h0] = inputs.map(numbers) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const [dxw, dhw, dh0] = outputs.map(numbers) as [Float64Array, Float64Array, Float64Array];
    const [steps, rows, units] = inputs[0]!.shape as [number, number, number];
    for (let t = steps - 1; t >= 0; t--) {
      for (let b = 0; b < rows; b++) {
        const at = (t * rows + b) * units;
        for (let j = 0; j < units; j++) {
          const [r, z, n, own] = [0, 1, 2, 3].map((gate) => gates[4 * at + gate * units + j]!) as [
            number,
            number,
            number,
            number,
          ];
          const before = t === 0 ? h0[b * units + j]! : y[at - rows * units + j]!;
          const dh = dy[at + j]! + dh0[b * units + j]!;
          const dn = dh * (1 - z) * (1 - n * n);
          const all = [dn * own * r * (1 - r), dh * (before - n) * z * (1 - z), dn];
          for (const [gate, d] of all.entries()) {
            dxw[3 * at + gate * units + j] = d;
            dhw[3 * at + gate * units + j] = gate === 2 ? d * r : d;
          }
          dh0[b * units + j] = dh * z;
        }
        for (let k = 0; k < units; k++) {
          for (let j = 0; j < 3 * units; j++) dh0[b * units + k]! += dhw[3 * at + j]! * weight[k * 3 * units + j]!;
        }
      }
    }
  },
};
