// Faults on purpose: lost, late and cut messages, drawn from a seed, for tests of everything that stands above.
import type { Faults } from "./types.ts";

export type Fault = "none" | "drop" | "disconnect" | "cut";

const names = ["drop", "delayMs", "disconnect", "seed"] as const;

export class FaultSource {
  readonly #faults: Required<Faults>;
  #state: number;

  constructor(faults: Faults) {
    this.#faults = { drop: 0, delayMs: 0, disconnect: 0, seed: 1, ...faults };
    this.#state = this.#faults.seed >>> 0;
  }

  /** What happens to the next message. `cut`: the connection ends in the middle of it. */
  next(): Fault {
    if (this.#random() < this.#faults.drop) return "drop";
    if (this.#random() >= this.#faults.disconnect) return "none";
    return this.#random() < 0.5 ? "cut" : "disconnect";
  }

  /** How many milliseconds the next message waits. */
  delay(): number {
    return this.#faults.delayMs === 0 ? 0 : this.#random() * this.#faults.delayMs;
  }

  /** Mulberry32, uniform in [0, 1). */
  #random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}

/**
 * The faults that a whole process asks for, as in `FLOTILLA_FAULTS=drop=0.05,disconnect=0.01`.
 * @throws Error that names the wrong part
 */
export function faultsFromEnvironment(env: NodeJS.ProcessEnv = process.env): Faults | undefined {
  const text = env.FLOTILLA_FAULTS;
  if (text === undefined || text === "") return undefined;
  const faults: Record<string, number> = {};
  for (const part of text.split(",")) {
    const [name, value] = part.split("=") as [string, string | undefined];
    const number = Number(value);
    const known = (names as readonly string[]).includes(name);
    const share = name === "drop" || name === "disconnect";
    if (!known || !(number >= 0) || value === "" || (share && number > 1)) {
      throw new Error(
        `FLOTILLA_FAULTS: ${JSON.stringify(part)} is no fault; write NAME=NUMBER of ${names.join(", ")}, shares from 0 to 1`,
      );
    }
    faults[name] = number;
  }
  return faults;
}
