// Runs a plan and notes when each part of the model was at work.
import type { Executable, Plan } from "../../engine/index.ts";
import { clock, Kind, type Timeline } from "./timeline.ts";

export interface TracedRun {
  /** Names of the parts, by the numbers in events. */
  readonly groups: readonly string[];
  run(): void;
}

/** Parts that are shown: scopes of the model, two names deep. */
const DEPTH = 2;

/** Notes when a phase of the update is at work, its waits included. */
export function tracedUpdate(run: () => void, timeline: Timeline): () => void {
  return () => {
    const start = clock();
    run();
    timeline.add(Kind.update, 0, start, clock());
  };
}

/**
 * @param executable of the plan
 * @param before what is to happen before an instruction
 */
export function tracedRun(
  { instructions }: Plan,
  executable: Executable,
  timeline: Timeline,
  before?: (instruction: number) => void,
): TracedRun {
  const keys = instructions.map(({ scope = "", kind }) => {
    const parts = scope.split("/").filter((part) => part !== "");
    const backward = parts[0] === "backward";
    return parts.slice(0, DEPTH + (backward ? 1 : 0)).join("/") || kind;
  });
  const groups = [...new Set(keys)];
  const groupOf = Int32Array.from(keys, (key) => groups.indexOf(key));
  let current = -1;
  let start = 0;
  const enter = (group: number): void => {
    if (group === current) return;
    const now = clock();
    if (current >= 0) timeline.add(Kind.compute, current, start, now);
    current = group;
    start = now;
  };
  const mark = (instruction: number): void => {
    enter(groupOf[instruction]!);
    before?.(instruction);
  };
  return {
    groups,
    run() {
      if (!timeline.tracing) return before === undefined ? executable.run() : executable.runMarked(before);
      executable.runMarked(mark);
      enter(-1);
    },
  };
}
