// What a trainer has learnt, kept while its session is opened anew for another group of workers.
import type { Heap } from "../memory/index.ts";
import { type LossScaleHandle, lossScaleStates, restoreLossScales } from "./loss-scale.ts";
import type { LossScaleState } from "./loss-scale-options.ts";
import type { Session } from "./session.ts";

export interface KeptState {
  readonly parameters: ReadonlyMap<string, Float32Array>;
  readonly lossScales: readonly LossScaleState[];
}

/** Where the loss scales of a session are. */
export const lossScalesOf = ({ updates }: Session): LossScaleHandle[] =>
  updates.flatMap(({ lossScale }) => lossScale ?? []);

export function keepState(heap: Heap, session: Session): KeptState {
  const { parameters } = session;
  return {
    parameters: new Map(parameters.names.map((name) => [name, parameters.view(name).slice()])),
    lossScales: lossScaleStates(heap, lossScalesOf(session)),
  };
}

/** What the new session has besides keeps its start values. */
export function restoreState(heap: Heap, session: Session, { parameters, lossScales }: KeptState): void {
  for (const name of session.parameters.names) {
    const kept = parameters.get(name);
    const view = session.parameters.view(name);
    if (kept?.length === view.length) view.set(kept);
  }
  restoreLossScales(heap, lossScalesOf(session), lossScales);
}
