// The output of all processes in one: every line begins with who wrote it, in the process's own colour on a terminal.
import type { Readable, Writable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import type { Place, Role } from "../cluster/index.ts";

/** Longer lines are cut into several. */
const MAX_LINE = 65_536;
/** What is kept of each process, to be shown when it fails. */
const TAIL_LINES = 20;

const colours = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94];

export interface LogOptions {
  readonly workers: number;
  readonly servers: number;
  readonly out?: Writable & { readonly isTTY?: boolean };
  readonly err?: Writable & { readonly isTTY?: boolean };
}

/** "W0", "S12". */
export function label({ role, rank }: Place): string {
  return `${role === "worker" ? "W" : "S"}${rank}`;
}

export class JobLog {
  readonly #out: Writable & { readonly isTTY?: boolean };
  readonly #err: Writable & { readonly isTTY?: boolean };
  readonly #width: number;
  readonly #tails = new Map<string, string[]>();

  constructor({ workers, servers, out = process.stdout, err = process.stderr }: LogOptions) {
    this.#out = out;
    this.#err = err;
    const widest = (role: Role, count: number): number => (count === 0 ? 0 : label({ role, rank: count - 1 }).length);
    this.#width = Math.max(widest("worker", workers), widest("server", servers));
  }

  /** Copies both streams of a process, line by line. */
  follow(place: Place, stdout: Readable, stderr: Readable): void {
    const tail: string[] = [];
    this.#tails.set(label(place), tail);
    this.#copy(place, stdout, this.#out, tail);
    this.#copy(place, stderr, this.#err, tail);
  }

  /** The last lines of a process. */
  tail(place: Place): readonly string[] {
    return this.#tails.get(label(place)) ?? [];
  }

  /** A line of the launcher itself. */
  say(text: string): void {
    this.#err.write(`${paint(this.#err, 1, "flotilla:")} ${text}\n`);
  }

  #copy(place: Place, from: Readable, to: Writable & { readonly isTTY?: boolean }, tail: string[]): void {
    const colour = colours[(place.rank + (place.role === "server" ? 5 : 0)) % colours.length]!;
    const prefix = `${paint(to, colour, `${label(place).padEnd(this.#width)} |`)} `;
    const decoder = new StringDecoder("utf8");
    let rest = "";
    const write = (lines: readonly string[]): void => {
      if (lines.length === 0) return;
      tail.push(...lines.slice(-TAIL_LINES));
      if (tail.length > TAIL_LINES) tail.splice(0, tail.length - TAIL_LINES);
      if (to.write(lines.map((line) => `${prefix}${line}\n`).join("")) || from.destroyed) return;
      from.pause();
      to.once("drain", () => from.resume());
    };
    from.on("data", (chunk: Buffer) => {
      const lines = (rest + decoder.write(chunk)).split(/\r?\n/);
      rest = lines.pop()!;
      while (rest.length > MAX_LINE) {
        lines.push(rest.slice(0, MAX_LINE));
        rest = rest.slice(MAX_LINE);
      }
      write(lines);
    });
    from.once("end", () => {
      rest += decoder.end();
      if (rest !== "") write([rest]);
    });
    from.on("error", () => {});
  }
}

function paint(stream: { readonly isTTY?: boolean }, colour: number, text: string): string {
  return stream.isTTY && !process.env.NO_COLOR ? `\x1b[${colour}m${text}\x1b[0m` : text;
}
