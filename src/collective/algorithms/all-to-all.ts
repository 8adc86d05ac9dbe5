// Block i of each rank's data goes to rank i, whose output has the blocks in the order of the ranks. P - 1 steps, S(P - 1)/P
// bytes per rank; in step k everyone sends to the rank k places on, so that no rank is asked by two at once.
import { exchange, modulo, partOf, type Schedule, type ScheduleRequest } from "../schedule.ts";

/** @throws RangeError when the blocks would not be equal. */
export function allToAll({ rank, size, count, segment }: ScheduleRequest): Schedule {
  if (count % size !== 0) {
    throw new RangeError(`all-to-all: ${count} elements are no ${size} equal blocks; pass a multiple of ${size}`);
  }
  const block = (i: number): { start: number; count: number } => partOf({ start: 0, count }, size, i);
  const own = { sends: [], receives: [], copies: [{ ...block(rank), to: block(rank).start }] };
  const turns = Array.from({ length: size - 1 }, (_, k) => {
    const [next, previous] = [modulo(rank + k + 1, size), modulo(rank - k - 1, size)];
    return exchange({ ...block(next), peer: next }, { ...block(previous), peer: previous, reduce: false }, segment);
  });
  return { into: "output", steps: [own, ...turns.flat()] };
}
