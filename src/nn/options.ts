// What the options of several layers have in common: checks of sizes, and starts of biases.
import { type Init, ShapeError } from "../program/index.ts";

/** @throws ShapeError where a size is no integer of at least 1 */
export function expectSizes(layer: string, sizes: Readonly<Record<string, number>>): void {
  for (const [what, size] of Object.entries(sizes)) {
    if (!Number.isInteger(size) || size < 1) {
      throw new ShapeError(`${layer}: ${what} must be an integer of at least 1, got ${size}`);
    }
  }
}

/** A bias has no inputs of its own to tell its scale by: it takes the fan-in of its layer's weights. */
export const biasStart = (init: Init, fanIn: number): Init =>
  init.kind === "fan-in-uniform" ? { fanIn, ...init } : init;
