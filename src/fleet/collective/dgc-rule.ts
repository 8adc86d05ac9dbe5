// The update rule of a parameter whose momentum deep gradient compression keeps before gradients are sent: plain SGD. Before
// compression begins, the optimizer's own rule.
import { input, mul, select, sub } from "../../kernels/expr.ts";
import type { UpdateRule } from "../../kernels/index.ts";

/** Name of the per-step number that is 1 when gradients are compressed, else 0. */
export const COMPRESSED = "compressed";

/** @param rule of SGD or momentum, with the learning rate as its only scalar */
export function compressedRule(rule: UpdateRule, rampupBegin: number): UpdateRule {
  const [w, g] = [input(0), input(1)];
  const plain = (rate: number) => sub(w, mul(input(rate), g));
  if (rampupBegin === 0) return { slots: [], scalars: rule.scalars, weight: plain(2), state: [] };
  const rate = 2 + rule.slots.length;
  const compressed = input(rate + rule.scalars.length);
  return {
    ...rule,
    scalars: [...rule.scalars, COMPRESSED],
    weight: select(compressed, plain(rate), rule.weight),
    state: rule.state.map((next, slot) => select(compressed, input(2 + slot), next)),
  };
}
