// How much scratch memory each op needs while it runs: the planner asks, the arena holds it.
import { reduceScratchBytes } from "./ops/elementwise.ts";
import { matmulScratch } from "./ops/matmul.ts";
import type { Provider } from "./provider.ts";
import type { OpSignature } from "./tensor.ts";

/**
 * Bytes of scratch that an op needs.
 * @throws InstructionError when the op's shapes do not fit its kind.
 */
export function scratchBytes(op: OpSignature, provider: Pick<Provider, "scratchBytes">): number {
  switch (op.kind) {
    case "matmul":
      return matmulScratch(op, provider);
    case "reduce":
      return reduceScratchBytes(op);
    case "batch_norm":
      return op.attrs.training === true ? 0 : op.inputs[1]!.shape[0]! * 4;
    default:
      return 0;
  }
}
