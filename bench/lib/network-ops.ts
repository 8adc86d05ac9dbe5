// Elementwise ops and norms of networks at the sizes that they have in BERT-base and ResNet-50, as the kernel benchmark
// measures them: GB/s of the memory that each op has to read and write.
import * as e from "../../src/kernels/expr.ts";
import { Heap } from "../../src/memory/index.ts";
import type { OpKind } from "../../src/program/index.ts";
import { type LoweredOp, openOp } from "./lowered-op.ts";

export interface NetworkOp {
  readonly title: string;
  /** Bytes that the op has to move. */
  readonly bytes: number;
  /** Opens the op; it runs until `close`. */
  open(): { run(): void; close(): void };
}

const x = e.input(0);
const scaled = e.mul(x, Math.SQRT1_2);
const gelu = e.mul(e.mul(x, 0.5), e.add(1, e.erf(scaled)));
const bell = e.mul(1 / Math.sqrt(2 * Math.PI), e.exp(e.neg(e.mul(scaled, scaled))));
const geluGradient = e.mul(e.input(1), e.add(e.mul(0.5, e.add(1, e.erf(scaled))), e.mul(x, bell)));

const epsilon = 1e-5;
const training = { epsilon, momentum: 0.9, training: true };

export function networkOps(): NetworkOp[] {
  const heap = Heap.create({ maxBytes: 2 ** 28 });
  /** @param units the tensors of the first operand's size that it reads and writes */
  const op = <K extends OpKind>(title: string, units: number, lowered: LoweredOp<K>): NetworkOp => ({
    title,
    bytes: 4 * units * lowered.inputs[0]!.reduce((size, extent) => size * extent, 1),
    open: () => openOp(heap, lowered),
  });
  const [tokens, hidden, attention, picture] = [
    [1024, 768],
    [1024, 3072],
    [12288, 128],
    [25088, 256],
  ];
  const [width, channels] = [[768], [256]];
  return [
    op("copy 12 MB", 2, { kind: "map", inputs: [hidden], attrs: { exprs: [e.neg(x)] } }),
    op("GELU", 2, { kind: "map", inputs: [hidden], attrs: { exprs: [gelu] } }),
    op("GELU gradient", 3, { kind: "map", inputs: [hidden, hidden], attrs: { exprs: [geluGradient] } }),
    op("cast to bf16", 1.5, { kind: "map", inputs: [hidden], attrs: { exprs: [x], dtypes: ["bf16"] } }),
    op("cast to f16", 1.5, { kind: "map", inputs: [hidden], attrs: { exprs: [x], dtypes: ["f16"] } }),
    op("softmax", 2, { kind: "softmax", inputs: [attention], attrs: {} }),
    op("softmax gradient", 3, { kind: "softmax_grad", inputs: [attention, attention], attrs: {} }),
    op("layer norm", 2, { kind: "layer_norm", inputs: [tokens, width, width], attrs: { epsilon } }),
    op("layer norm gradient", 5, {
      kind: "layer_norm_grad",
      inputs: [tokens, tokens, width, tokens.slice(0, 1), tokens.slice(0, 1)],
      attrs: {},
    }),
    op("copy 26 MB", 2, { kind: "map", inputs: [picture], attrs: { exprs: [e.neg(x)] } }),
    op("batch norm", 3, {
      kind: "batch_norm",
      inputs: [picture, channels, channels, channels, channels],
      attrs: training,
      writes: [3, 4],
    }),
    op("batch norm gradient", 5, {
      kind: "batch_norm_grad",
      inputs: [picture, picture, channels, channels, channels],
      attrs: {},
    }),
  ];
}
