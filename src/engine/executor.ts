// The executor: a plan bound to a device is a flat list of calls, run in order, step after step.
import type { Call, Device } from "./device.ts";
import type { Operand, Plan } from "./plan.ts";
import { formatOp } from "./tensor.ts";

export interface InstructionProfile {
  readonly index: number;
  readonly kind: string;
  /** Kind, shapes and attributes in words. */
  readonly text: string;
  /** Mean microseconds of one run. */
  readonly microseconds: number;
}

export interface Profile {
  /** Runs that were measured. */
  readonly runs: number;
  readonly microseconds: number;
  /** Microseconds of one run by op kind, the most expensive first. */
  readonly kinds: readonly { readonly kind: string; readonly count: number; readonly microseconds: number }[];
  readonly instructions: readonly InstructionProfile[];
}

export interface Executable {
  /** Runs the plan once. Allocates nothing. */
  run(): void;
  /** Runs the plan once and adds each instruction's time to the profile. */
  runProfiled(): void;
  /** The times of all profiled runs. */
  profile(): Profile;
  /** Frees what binding took beside the arena. The executable may not be run any more. */
  dispose(): void;
}

/** Binds every instruction of a plan to a device. */
export function bindPlan(plan: Plan, device: Device, addressOf: (operand: Operand) => number): Executable {
  const groups = plan.instructions.map((instruction) => device.bind(instruction, addressOf));
  const calls: readonly Call[] = groups.flat();
  const milliseconds = new Float64Array(groups.length);
  let runs = 0;

  return {
    run(): void {
      for (let i = 0; i < calls.length; i++) calls[i]!();
    },

    runProfiled(): void {
      runs++;
      let before = performance.now();
      for (let i = 0; i < groups.length; i++) {
        for (const call of groups[i]!) call();
        device.synchronize();
        const now = performance.now();
        milliseconds[i]! += now - before;
        before = now;
      }
    },

    profile(): Profile {
      const instructions = plan.instructions.map((instruction, index) => ({
        index,
        kind: instruction.kind,
        text: formatOp(instruction),
        microseconds: runs === 0 ? 0 : (milliseconds[index]! * 1000) / runs,
      }));
      const kinds = [...Map.groupBy(instructions, (instruction) => instruction.kind)]
        .map(([kind, group]) => ({ kind, count: group.length, microseconds: sum(group) }))
        .sort((a, b) => b.microseconds - a.microseconds);
      return { runs, microseconds: sum(instructions), kinds, instructions };
    },

    dispose: () => device.dispose(),
  };
}

const sum = (items: readonly { microseconds: number }[]): number =>
  items.reduce((total, item) => total + item.microseconds, 0);

/** A profile as lines of text: the kinds, then the `top` most expensive instructions. */
export function formatProfile(profile: Profile, top = 10): string {
  const line = (microseconds: number, text: string): string => {
    const share = profile.microseconds === 0 ? 0 : (100 * microseconds) / profile.microseconds;
    return `${microseconds.toFixed(1).padStart(10)} µs ${share.toFixed(1).padStart(5)} %  ${text}`;
  };
  const instructions = profile.instructions.toSorted((a, b) => b.microseconds - a.microseconds).slice(0, top);
  return [
    line(profile.microseconds, `a run (${profile.runs} measured)`),
    ...profile.kinds.map(({ kind, count, microseconds }) => line(microseconds, `${count} × ${kind}`)),
    "",
    ...instructions.map(({ index, text, microseconds }) => line(microseconds, `#${index} ${text}`)),
  ].join("\n");
}
