// What instructions know of other ranks: collectives by name. Whoever binds a plan supplies them.
import type { Call } from "./device.ts";

/** The collectives of a plan's instructions. Calls allocate nothing. */
export interface Communication {
  /** This rank, from 0. */
  readonly rank: number;
  /** Starts the collective of this name; all ranks start theirs in the same order. */
  start(name: string): Call;
  /** Blocks until the collective that was started last under this name is done. */
  wait(name: string): Call;
}

/** For plans that are bound to see whether they can be, and not run. */
export const noCommunication: Communication = {
  rank: 0,
  start: () => () => {},
  wait: () => () => {},
};
