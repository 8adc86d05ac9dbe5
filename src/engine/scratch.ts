// How much scratch memory each op needs while it runs: the planner asks, the arena holds it.
import { convScratch } from "./ops/conv.ts";
import { distributedScratch } from "./ops/distributed.ts";
import { elementwiseScratch } from "./ops/elementwise.ts";
import { matmulScratch } from "./ops/matmul.ts";
import { normScratch } from "./ops/norm.ts";
import { poolScratch } from "./ops/pool.ts";
import { recurrentScratch } from "./ops/recurrent.ts";
import type { Provider } from "./provider.ts";
import type { OpSignature } from "./tensor.ts";

/**
 * Bytes of scratch that an op needs.
 * @throws InstructionError when the op's shapes do not fit its kind.
 */
export function scratchBytes(op: OpSignature, provider: Provider): number {
  switch (op.kind) {
    case "matmul":
    case "batch_matmul":
      return matmulScratch(op, provider);
    case "conv2d":
    case "conv2d_input_grad":
    case "conv2d_weight_grad":
      return convScratch(op, provider);
    case "lstm":
    case "lstm_grad":
    case "gru":
    case "gru_grad":
      return recurrentScratch(op, provider);
    case "batch_norm_grad":
      return normScratch(op, provider);
    case "pool2d":
    case "pool2d_grad":
      return poolScratch(op, provider);
    case "reduce_scatter":
      return distributedScratch(op);
    case "reduce":
    case "rows":
      return elementwiseScratch(op);
    default:
      return 0;
  }
}
