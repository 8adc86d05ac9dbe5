// What a worker tells the coordinator while it trains: steps and speed for `flotilla status`, and where it stands still.
import type { Report } from "../cluster/index.ts";
import type { Session } from "./session.ts";
import type { TrainingState } from "./training-state.ts";
import type { Workers } from "./workers.ts";

export class ProgressReport {
  readonly #workers: Workers;
  #before: Pick<TrainingState, "step" | "samples" | "seconds">;

  /** @param state where training begins */
  constructor(workers: Workers, state: TrainingState) {
    this.#workers = workers;
    this.#before = state;
  }

  /**
   * @param session what it works with; undefined where it does not train now
   * @param read whether readers have more rows than were trained on
   */
  tell(state: TrainingState, session: Session | undefined, read: boolean): void {
    const { step, samples, seconds } = state;
    const before = this.#before;
    this.#before = state;
    const samplesPerSecond = Math.round((samples - before.samples) / Math.max(1e-3, seconds - before.seconds));
    const common = { step, samples, samplesPerSecond: Math.max(0, samplesPerSecond) };
    const still = session !== undefined && step === before.step ? standing(session, read) : {};
    this.#workers.member?.report({ ...common, ...still });
  }
}

/** At what a worker is whose step does not rise. */
function standing({ served, collective }: Session, read: boolean): Report {
  const waitsIn = collective?.waitsIn;
  if (waitsIn !== undefined) return { waitsIn };
  const request = served?.request;
  if (request !== undefined) return served!.inStep ? { waitsIn: request } : { activity: request };
  return { activity: read ? "computing" : "reading data" };
}
