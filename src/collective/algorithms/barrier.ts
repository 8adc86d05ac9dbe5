// Nobody leaves before all have come: dissemination (Hensgen, Finkel and Manber, 1988). In step k everyone tells the rank
// 2^k places on; after ⌈log2 P⌉ steps each has heard of all. The messages are empty.
import { modulo, type Schedule, type ScheduleRequest, type Step } from "../schedule.ts";

export function barrier({ rank, size }: Pick<ScheduleRequest, "rank" | "size">): Schedule {
  const steps: Step[] = [];
  for (let distance = 1; distance < size; distance *= 2) {
    steps.push({
      sends: [{ peer: modulo(rank + distance, size), start: 0, count: 0 }],
      receives: [{ peer: modulo(rank - distance, size), start: 0, count: 0, reduce: false }],
    });
  }
  return { into: "data", steps };
}
