// The CTR benchmark's rates: all systems take turns, round by round, and so do the measurements of the providers' peaks.

import { measureSpeed } from "../../src/engine/doctor/index.ts";
import type { ProviderDescription } from "../../src/engine/providers/index.ts";
import type { System, Window } from "./ctr-recipe.ts";
import { say } from "./report.ts";

/** Products at which a provider reaches its peak. */
const PEAK_CASES = [
  { m: 1024, n: 1024, k: 1024 },
  { m: 512, n: 512, k: 512 },
];
/** Of the processor time that a system's threads could use; with less, others had the machine and the window is void. */
const SHARE = 0.93;
const ATTEMPTS = 4;

export interface SpeedPlan {
  readonly systems: readonly System[];
  /** Providers whose peak is measured each round, on this many threads. */
  readonly providers: readonly ProviderDescription[];
  readonly threads: number;
  readonly rounds: number;
  readonly seconds: number;
}

/** Samples/s and GFLOP/s by round. */
export interface SpeedResult {
  readonly rates: ReadonlyMap<System, readonly number[]>;
  readonly peaks: Readonly<Record<string, readonly number[]>>;
}

export async function measureRates(plan: SpeedPlan): Promise<SpeedResult> {
  const rates = new Map<System, number[]>(plan.systems.map((system) => [system, []]));
  const peaks: Record<string, number[]> = Object.fromEntries(plan.providers.map(({ name }) => [name, []]));
  for (let round = 0; round < plan.rounds; round++) {
    for (const system of plan.systems) {
      const { samplesPerSecond } = await quietWindow(system, plan.seconds);
      rates.get(system)!.push(samplesPerSecond);
    }
    for (const provider of plan.providers) {
      const milliseconds = (1000 * plan.seconds) / 2 / PEAK_CASES.length;
      const speeds = await measureSpeed({ provider, cases: PEAK_CASES, milliseconds }, plan.threads);
      const peak = Math.max(...speeds.map(({ mean }) => mean));
      peaks[provider.name]!.push(peak);
      say(`  ${provider.name} peak, ${plan.threads} threads: ${Math.round(peak)} GFLOP/s`);
    }
  }
  return { rates, peaks };
}

/** A window in which the system had the processors to itself, or the best of some attempts. */
async function quietWindow(system: System, seconds: number): Promise<Window> {
  let best: Window | undefined;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const window = await system.window(seconds);
    if (best === undefined || window.cpu > best.cpu) best = window;
    const busy = window.cpu < SHARE * system.threads;
    const share = Math.round((100 * window.cpu) / system.threads);
    say(
      `  ${system.name}: ${Math.round(window.samplesPerSecond)} samples/s${busy ? ` (had ${share} % of its time)` : ""}`,
    );
    if (!busy) return window;
  }
  return best!;
}
