// What every provider must fulfil in pooling and its gradients.
import type { Heap } from "../../memory/index.ts";
import type { PoolShape, Provider } from "../provider.ts";
import { pool } from "../testing-loops.ts";
import { poolOperands } from "../testing-plain.ts";
import { checkWork, text, type WorkCheck } from "./contract-work.ts";

/** `places` false leaves out where the maxima lie, as inference does. @throws where the provider breaks the contract. */
export function checkPool(heap: Heap, provider: Provider, shape: PoolShape, seed = 1, places = true): Uint8Array[] {
  const { places: withPlaces, ...others } = poolOperands(shape);
  const kernel = shape.kernelHeight * shape.kernelWidth;
  // Maxima are not sums: the greatest of rounded numbers is exact.
  const exact: Pick<WorkCheck, "magnitudes"> =
    shape.mode === "max" && shape.direction === "forward" ? { magnitudes: ({ y }) => y!.fill(0) } : {};
  return checkWork(heap, provider, {
    ...{ what: text("pool", shape), seed, ...exact },
    operands: { ...others, ...(withPlaces && places && { places: withPlaces }) },
    // A few numbers that are equal often: the first of them is the maximum.
    fill: { x: (random) => Math.round(8 * random() - 4) / 4, places: (random) => Math.floor(random() * kernel) },
    scratchBytes: (subject) => subject.pool.scratchBytes(shape),
    bind: (subject, at, scratch) =>
      subject.pool.bind(shape, {
        ...{ x: at.x!, y: at.y!, ...scratch },
        ...(at.places !== undefined && { places: at.places }),
      }),
    expect: ({ x, y, places: at }) => pool(shape, { x: x!, y: y!, ...(at && { places: at }) }),
  });
}
