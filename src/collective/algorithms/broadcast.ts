// From one rank to all. The chain passes segments from rank to rank: S bytes per rank, P - 2 segments later than the first
// at the end of it, the best for long tensors. The binomial tree doubles the ranks that have the data with every step: for
// short ones, ⌈log2 P⌉ steps.
import { modulo, type Schedule, type ScheduleRequest, type Step, segments } from "../schedule.ts";

export interface BroadcastRequest extends ScheduleRequest {
  readonly root: number;
}

export function broadcastChain({ rank, size, count, segment, root }: BroadcastRequest): Schedule {
  const place = modulo(rank - root, size);
  const peer = (offset: number): number => modulo(rank + offset, size);
  const steps: Step[] = [];
  for (const range of segments({ start: 0, count }, segment)) {
    if (place > 0) steps.push({ sends: [], receives: [{ ...range, peer: peer(-1), reduce: false }] });
    if (place < size - 1) steps.push({ sends: [{ ...range, peer: peer(1) }], receives: [] });
  }
  return { into: "data", steps: rounded({ rank, count, root }, steps) };
}

export function broadcastTree({ rank, size, count, root }: BroadcastRequest): Schedule {
  const place = modulo(rank - root, size);
  const all = { start: 0, count };
  const steps: Step[] = [];
  for (let have = 1; have < size; have *= 2) {
    const rankAt = (position: number): number => modulo(position + root, size);
    if (place < have && place + have < size) {
      steps.push({ sends: [{ ...all, peer: rankAt(place + have) }], receives: [] });
    } else if (place >= have && place < 2 * have) {
      steps.push({ sends: [], receives: [{ ...all, peer: rankAt(place - have), reduce: false }] });
    }
  }
  return { into: "data", steps: rounded({ rank, count, root }, steps) };
}

/** The root keeps what the others get, also where the wire rounds. */
const rounded = ({ rank, count, root }: { rank: number; count: number; root: number }, steps: Step[]): Step[] =>
  rank === root ? [{ sends: [], receives: [], finish: [{ start: 0, count }] }, ...steps] : steps;
