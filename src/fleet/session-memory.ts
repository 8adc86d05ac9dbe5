// Whether the heap has room for the session of a model, found out before any of it is taken; and what a person should know
// before training starts.
import type { SelectedProvider } from "../engine/providers/index.ts";
import { expectRoom, type MemoryReport, memoryNote, memoryReport, type Room } from "./memory-report.ts";
import type { ModelPrograms } from "./model-programs.ts";
import type { Strategy } from "./strategy.ts";

export interface SessionNeeds {
  readonly model: string;
  readonly batch: number;
  readonly threads: number;
  readonly strategy: Strategy;
  readonly provider: SelectedProvider;
  readonly programs: ModelPrograms;
  /** The programs with recomputation in segments that are chosen by the sizes. */
  readonly recomputed: () => ModelPrograms;
}

/** @throws Error where the room is too small, with what would help */
export function expectSessionRoom(
  { model, batch, threads, strategy, provider, programs, recomputed }: SessionNeeds,
  room: Room,
): { readonly memory: MemoryReport; readonly notes: readonly string[] } {
  const memory = memoryOf(programs, threads);
  let again: MemoryReport | undefined;
  const alternative =
    strategy.recompute === undefined ? (): MemoryReport => (again ??= memoryOf(recomputed(), threads)) : undefined;
  const halfPrecision = strategy.amp !== undefined;
  expectRoom(memory, room, { model: `model ${model}`, batch, halfPrecision, recomputed: alternative });
  const notes = [memoryNote(memory, alternative), precisionNote(strategy, provider)];
  return { memory, notes: notes.filter((note) => note !== undefined) };
}

/** What the session of these programs will take. A thread trains or scores, never both: the two plans share its arena. */
function memoryOf(
  { training, inference, updates = [], parameters, shared }: ModelPrograms,
  threads: number,
): MemoryReport {
  const larger = training.plan.arenaBytes > inference.plan.arenaBytes ? training.plan : inference.plan;
  const arenas = [...Array.from({ length: threads }, () => larger), ...updates.flat().map(({ plan }) => plan)];
  return memoryReport({ parameters, shared, arenas });
}

/** That half precision is rounding alone here, where it is. */
function precisionNote({ amp }: Strategy, { name, nativeBf16 }: SelectedProvider): string | undefined {
  if (amp === undefined || (amp === "bf16" && nativeBf16)) return undefined;
  const why = amp === "fp16" ? "no engine multiplies it" : `${name} has no instructions for it on this processor`;
  return `amp "${amp}" is emulated: ${why}, so its numbers are those of half precision and its speed is not`;
}
