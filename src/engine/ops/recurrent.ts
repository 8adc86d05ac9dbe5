// lstm, gru and their gradients: a product and a cell kernel for each step, all bound once.
import { instantiate } from "../../memory/index.ts";
import type { Call } from "../device.ts";
import { bytesOf } from "../plan.ts";
import type { MatmulShape, Provider } from "../provider.ts";
import { check, type OpSignature, sizeOf } from "../tensor.ts";
import { type BindOp, type BoundOp, call } from "./op.ts";

type RecurrentKernels = Record<
  "lstmCell" | "lstmCellGrad" | "gruCell" | "gruCellGrad" | "addTo" | "copy" | "clear",
  (...args: number[]) => void
>;

const kernels = ({ context }: BoundOp): RecurrentKernels => instantiate<RecurrentKernels>("recurrent", context.heap);

interface Extents {
  readonly steps: number;
  readonly rows: number;
  readonly units: number;
  /** Bytes of the states of one step. */
  readonly state: number;
}

function extentsOf(op: OpSignature): Extents {
  const states = op.kind.endsWith("_grad") ? op.inputs[0]! : op.outputs[0]!;
  check(op, states.shape.length === 3, `${op.kind} takes sequences [T,B,H]`);
  const [steps, rows, units] = states.shape as [number, number, number];
  for (const tensor of [...op.inputs, ...op.outputs]) {
    check(op, tensor.dtype === "f32", `${op.kind} takes f32, got ${tensor.dtype}`);
  }
  return { steps, rows, units, state: rows * units * bytesOf.f32 };
}

/** The product of a step: states · weight, added to gates (lstm) or with a bias (gru); in the gradient d · weightᵀ. */
function productOf(op: OpSignature): MatmulShape {
  const { rows, units } = extentsOf(op);
  const [m, plain] = [rows, { transposeA: false, transposeB: false }];
  switch (op.kind) {
    case "lstm":
      return { m, n: 4 * units, k: units, ...plain, accumulate: true };
    case "gru":
      return { m, n: 3 * units, k: units, ...plain, bias: 1 };
    case "lstm_grad":
      return { m, n: units, k: 4 * units, ...plain, transposeB: true };
    default:
      return { m, n: units, k: 3 * units, ...plain, transposeB: true, accumulate: true };
  }
}

const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;

/** Beside the product's scratch: a step's recurrent products of gru. */
const ownBytes = (op: OpSignature): number => (op.kind === "gru" ? align(3 * extentsOf(op).state) : 0);

export const recurrentScratch = (op: OpSignature, provider: Provider): number =>
  sizeOf(op.outputs[0]!.shape) === 0 ? 0 : ownBytes(op) + provider.scratchBytes(productOf(op));

/** Binds the product of a step with a, b and c at these addresses. */
function stepProduct(op: BoundOp): (a: number, b: number, c: number, bias?: number) => Call {
  const { bias: _, ...shape } = productOf(op.instruction);
  const own = ownBytes(op.instruction);
  return (a, b, c, bias) =>
    op.context.provider.matmul({
      ...shape,
      ...(bias === undefined ? {} : { bias }),
      ...{ a, b, c, scratch: op.scratch + own, scratchBytes: op.scratchBytes - own },
    });
}

const bindLstm: BindOp = (op) => {
  const { steps, rows, units, state } = extentsOf(op.instruction);
  const { lstmCell, copy } = kernels(op);
  const [xw, weight, h0, c0] = op.inputs as [number, number, number, number];
  const [y, cells, gates] = op.outputs as [number, number, number];
  const product = stepProduct(op);
  const calls: Call[] = [call(copy, gates, xw, 4 * state * steps)];
  for (let t = 0; t < steps; t++) {
    const at = t * state;
    const [h, c] = t === 0 ? [h0, c0] : [y + at - state, cells + at - state];
    calls.push(product(h, weight, gates + 4 * at), call(lstmCell, gates + 4 * at, c, cells + at, y + at, rows, units));
  }
  return calls;
};

const bindLstmGrad: BindOp = (op) => {
  const { steps, rows, units, state } = extentsOf(op.instruction);
  const { lstmCellGrad, clear } = kernels(op);
  const [dy, gates, cells, weight, c0] = op.inputs as [number, number, number, number, number];
  const [dxw, dh0, dc0] = op.outputs as [number, number, number];
  const product = stepProduct(op);
  // dh0 holds what comes back from the step after.
  const calls: Call[] = [call(clear, dh0, state), call(clear, dc0, state)];
  for (let t = steps - 1; t >= 0; t--) {
    const at = t * state;
    const before = t === 0 ? c0 : cells + at - state;
    calls.push(
      call(lstmCellGrad, dy + at, dh0, gates + 4 * at, cells + at, before, dc0, dxw + 4 * at, rows, units),
      product(dxw + 4 * at, weight, dh0),
    );
  }
  return calls;
};

const bindGru: BindOp = (op) => {
  const { steps, rows, units, state } = extentsOf(op.instruction);
  const { gruCell } = kernels(op);
  const [xw, weight, bias, h0] = op.inputs as [number, number, number, number];
  const [y, gates] = op.outputs as [number, number];
  const product = stepProduct(op);
  const hw = op.scratch;
  const calls: Call[] = [];
  for (let t = 0; t < steps; t++) {
    const at = t * state;
    const h = t === 0 ? h0 : y + at - state;
    calls.push(product(h, weight, hw, bias), call(gruCell, xw + 3 * at, hw, h, gates + 4 * at, y + at, rows, units));
  }
  return calls;
};

const bindGruGrad: BindOp = (op) => {
  const { steps, rows, units, state } = extentsOf(op.instruction);
  const { gruCellGrad, addTo, clear } = kernels(op);
  const [dy, gates, y, weight, h0] = op.inputs as [number, number, number, number, number];
  const [dxw, dhw, dh0] = op.outputs as [number, number, number];
  const product = stepProduct(op);
  // dh0 holds the gradient of the state, first what comes back from the step after.
  const calls: Call[] = [call(clear, dh0, state)];
  for (let t = steps - 1; t >= 0; t--) {
    const at = t * state;
    const before = t === 0 ? h0 : y + at - state;
    calls.push(
      call(addTo, dh0, dy + at, rows * units),
      call(gruCellGrad, dh0, gates + 4 * at, before, dxw + 3 * at, dhw + 3 * at, rows, units),
      product(dhw + 3 * at, weight, dh0),
    );
  }
  return calls;
};

export const recurrentOps = { lstm: bindLstm, lstm_grad: bindLstmGrad, gru: bindGru, gru_grad: bindGruGrad };
