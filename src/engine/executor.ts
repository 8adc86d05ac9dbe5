// The executor: a plan bound to a device is a flat list of calls, run in order, step after step.
import { debugLevel, finiteCheck } from "./debug.ts";
import type { Call, Device } from "./device.ts";
import type { Operand, Plan } from "./plan.ts";
import { formatOp } from "./tensor.ts";

interface Times {
  /** Mean of the measured runs. */
  readonly microseconds: number;
  /** Sum over instructions of the least of all runs: what it takes on a quiet machine. */
  readonly leastMicroseconds: number;
}

export interface InstructionProfile extends Times {
  readonly index: number;
  readonly kind: string;
  /** Kind, shapes and attributes in words. */
  readonly text: string;
}

export interface KindProfile extends Times {
  readonly kind: string;
  readonly count: number;
}

export interface Profile extends Times {
  /** Runs that were measured. */
  readonly runs: number;
  /** Sums over the instructions of an op kind, the most expensive first. */
  readonly kinds: readonly KindProfile[];
  readonly instructions: readonly InstructionProfile[];
}

export interface Executable {
  /** Runs the plan once. Allocates nothing. @throws NonFiniteError where results are checked and one is not finite. */
  run(): void;
  /** Runs the plan once and adds each instruction's time to the profile. */
  runProfiled(): void;
  /** Runs the plan once and calls `mark` before each instruction, with its number. */
  runMarked(mark: (instruction: number) => void): void;
  /** Runs the instructions from number `from` to before number `to`. */
  runPart(from: number, to: number): void;
  /** The times of all profiled runs. */
  profile(): Profile;
  /** Frees what binding took beside the arena. The executable may not be run any more. */
  dispose(): void;
}

export interface BindPlanOptions {
  /** Whether each run checks that all results are finite; default where `DEBUG` is 2 or more. */
  readonly checkFinite?: boolean;
}

/** Binds every instruction of a plan to a device. */
export function bindPlan(
  plan: Plan,
  device: Device,
  addressOf: (operand: Operand) => number,
  { checkFinite = debugLevel() >= 2 }: BindPlanOptions = {},
): Executable {
  const groups = plan.instructions.map((instruction) => device.bind(instruction, addressOf));
  const calls: readonly Call[] = checkFinite
    ? groups.flatMap((group, index) => [...group, finiteCheck(plan, index, device, addressOf)])
    : groups.flat();
  const totals = new Float64Array(groups.length);
  const least = new Float64Array(groups.length).fill(Number.POSITIVE_INFINITY);
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
        totals[i]! += now - before;
        least[i] = Math.min(least[i]!, now - before);
        before = now;
      }
    },

    runMarked(mark): void {
      for (let i = 0; i < groups.length; i++) {
        mark(i);
        for (const call of groups[i]!) call();
      }
    },

    runPart(from, to): void {
      for (let i = from; i < to; i++) for (const call of groups[i]!) call();
    },

    profile(): Profile {
      const instructions = plan.instructions.map((instruction, index) => ({
        index,
        kind: instruction.kind,
        text: formatOp(instruction),
        microseconds: runs === 0 ? 0 : (totals[index]! * 1000) / runs,
        leastMicroseconds: runs === 0 ? 0 : least[index]! * 1000,
      }));
      const kinds = [...Map.groupBy(instructions, (instruction) => instruction.kind)]
        .map(([kind, group]) => ({ kind, count: group.length, ...sum(group) }))
        .sort((a, b) => b.microseconds - a.microseconds);
      return { runs, ...sum(instructions), kinds, instructions };
    },

    dispose: () => device.dispose(),
  };
}

const sum = (items: readonly Times[]): Times => ({
  microseconds: items.reduce((total, item) => total + item.microseconds, 0),
  leastMicroseconds: items.reduce((total, item) => total + item.leastMicroseconds, 0),
});

/** A profile as lines of text: the kinds, then the `top` most expensive instructions. */
export function formatProfile(profile: Profile, top = 10): string {
  const line = ({ microseconds, leastMicroseconds }: Times, text: string): string => {
    const share = profile.microseconds === 0 ? 0 : (100 * microseconds) / profile.microseconds;
    const [mean, least] = [microseconds, leastMicroseconds].map((time) => time.toFixed(1).padStart(10));
    return `${mean} ${least} ${share.toFixed(1).padStart(5)} %  ${text}`;
  };
  const instructions = profile.instructions.toSorted((a, b) => b.microseconds - a.microseconds).slice(0, top);
  return [
    `   mean µs   least µs   share`,
    line(profile, `a run (${profile.runs} measured)`),
    ...profile.kinds.map((kind) => line(kind, `${kind.count} × ${kind.kind}`)),
    "",
    ...instructions.map((instruction) => line(instruction, `#${instruction.index} ${instruction.text}`)),
  ].join("\n");
}
