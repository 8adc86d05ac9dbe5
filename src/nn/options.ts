// Checks of the sizes that layers are made with.
import { ShapeError } from "../program/index.ts";

/** @throws ShapeError where a size is no integer of at least 1 */
export function expectSizes(layer: string, sizes: Readonly<Record<string, number>>): void {
  for (const [what, size] of Object.entries(sizes)) {
    if (!Number.isInteger(size) || size < 1) {
      throw new ShapeError(`${layer}: ${what} must be an integer of at least 1, got ${size}`);
    }
  }
}
