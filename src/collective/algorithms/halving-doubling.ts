// Recursive vector halving and distance doubling (Thakur, Rabenseifner and Gropp, "Optimization of collective communication
// operations in MPICH", 2005): pairs exchange halves and reduce, then quarters with the pair next to them, and so on; the
// results come back the same way. Steps 2·log2 P, bytes per rank 2S(P - 1)/P: the fewest messages for small tensors.
// Where P is no power of two, the first ranks fold in pairs: the even one gives all to the odd one and waits for the result,
// which takes two more steps and S bytes each way.
import {
  exchange,
  finishing,
  partOf,
  type Range,
  type Schedule,
  type ScheduleRequest,
  type Step,
} from "../schedule.ts";

export function halvingDoubling({ rank, size, count, segment }: ScheduleRequest): Schedule {
  const all = { start: 0, count };
  const core = 2 ** Math.floor(Math.log2(size));
  const folded = size - core;
  const idle = rank < 2 * folded && rank % 2 === 0;
  if (idle) {
    return {
      into: "data",
      steps: [
        ...exchange({ ...all, peer: rank + 1 }, undefined, segment),
        ...exchange(undefined, { ...all, peer: rank + 1, reduce: false }, segment),
      ],
    };
  }
  const helps = rank < 2 * folded;
  const place = helps ? rank >> 1 : rank - folded;
  const rankAt = (position: number): number => (position < folded ? 2 * position + 1 : position + folded);
  const { steps: halving, kept, path } = halve(place, core, all, segment, rankAt);
  return {
    into: "data",
    steps: [
      ...(helps ? exchange(undefined, { ...all, peer: rank - 1, reduce: true }, segment) : []),
      ...halving,
      finishing(kept),
      ...path
        .toReversed()
        .flatMap(({ peer, mine, theirs }) => exchange({ ...mine, peer }, { ...theirs, peer, reduce: false }, segment)),
      ...(helps ? exchange({ ...all, peer: rank - 1 }, undefined, segment) : []),
    ],
  };
}

interface Split {
  readonly peer: number;
  readonly mine: Range;
  readonly theirs: Range;
}

/** The nearest partner comes first: with it the largest half is exchanged. */
function halve(
  place: number,
  core: number,
  all: Range,
  segment: number,
  rankAt: (place: number) => number,
): { steps: Step[]; kept: Range; path: Split[] } {
  const path: Split[] = [];
  let kept = all;
  for (let distance = 1; distance < core; distance *= 2) {
    const upper = (place & distance) !== 0 ? 1 : 0;
    path.push({
      peer: rankAt(place ^ distance),
      mine: partOf(kept, 2, upper),
      theirs: partOf(kept, 2, 1 - upper),
    });
    kept = path.at(-1)!.mine;
  }
  const steps = path.flatMap(({ peer, mine, theirs }) =>
    exchange({ ...theirs, peer }, { ...mine, peer, reduce: true }, segment),
  );
  return { steps, kept, path };
}
