// The live line of a run: on a terminal one line redrawn in place, elsewhere (a file, a CI log) a plain line every few
// seconds. What it shows is a value; drawing is a pure function of it.
import type { Writable } from "node:stream";
import { widthOf } from "./table.ts";
import { formatCount, formatRate, formatSeconds } from "./units.ts";

export interface ProgressState {
  /** What runs: "train", "evaluate", "epoch 2/3". */
  readonly label: string;
  readonly samples: number;
  /** Where it ends; without it there is no bar and no time left. */
  readonly totalSamples?: number;
  /** Over the last window. */
  readonly samplesPerSecond: number;
  /** Over the last window. */
  readonly loss?: number;
  /** Over the last window. */
  readonly auc?: number;
  /** Over the last window. */
  readonly accuracy?: number;
  /** Over the last window, by name. */
  readonly measures?: Readonly<Record<string, number>>;
  /** More to say at the end of the line. */
  readonly note?: string;
}

export interface ProgressStyle {
  /** Columns of the terminal. */
  readonly columns: number;
  readonly color: boolean;
}

const RESET = "\x1b[0m";
const MAX_BAR = 24;

/** One line, at most `columns` wide: parts give way in the order note, bar, then the right end. */
export function renderProgress(state: ProgressState, style: ProgressStyle): string {
  const { samples, totalSamples, samplesPerSecond, loss, auc, accuracy, measures = {} } = state;
  const paint = (code: number, text: string): string => (style.color ? `\x1b[${code}m${text}${RESET}` : text);
  const share = totalSamples === undefined ? undefined : Math.min(1, totalSamples === 0 ? 1 : samples / totalSamples);
  const value = (name: string, text: string): string => `${paint(2, name)} ${text}`;
  const parts = [
    share === undefined ? undefined : `${Math.floor(share * 100)} %`.padStart(5),
    totalSamples === undefined ? formatCount(samples) : `${formatCount(samples)}/${formatCount(totalSamples)}`,
    formatRate(samplesPerSecond),
    loss === undefined ? undefined : value("loss", loss.toFixed(4)),
    auc === undefined || Number.isNaN(auc) ? undefined : value("auc", auc.toFixed(4)),
    accuracy === undefined ? undefined : value("accuracy", accuracy.toFixed(4)),
    ...Object.entries(measures).map(([name, number]) => value(name, number.toPrecision(4))),
    share === undefined || share === 1 ? undefined : value("eta", etaOf(totalSamples! - samples, samplesPerSecond)),
  ].filter((part) => part !== undefined);
  const body = parts.join("  ");
  const note = state.note === undefined ? "" : `  ${paint(2, state.note)}`;
  const label = paint(1, state.label);
  const room = style.columns - widthOf(label) - widthOf(body) - 4;
  const fits = room - widthOf(note) >= 8;
  const bar =
    share === undefined || room < 8
      ? ""
      : `${barOf(share, Math.min(MAX_BAR, fits ? room - widthOf(note) : room), paint)} `;
  const line = `${label}  ${bar}${body}`;
  return cut(widthOf(line) + widthOf(note) < style.columns ? line + note : line, style.columns - 1);
}

function etaOf(left: number, perSecond: number): string {
  return perSecond > 0 ? formatSeconds(left / perSecond) : "–";
}

function barOf(share: number, width: number, paint: (code: number, text: string) => string): string {
  const halves = Math.round(share * width * 2);
  const full = "━".repeat(Math.floor(halves / 2)) + (halves % 2 === 1 ? "╸" : "");
  return paint(36, full) + paint(90, "─".repeat(width - full.length));
}

/** Cuts plain text at a width; a line with escape sequences loses them when it has to be cut. */
function cut(line: string, width: number): string {
  if (widthOf(line) <= width) return line;
  let kept = "";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the escape sequences that paint writes
  for (const character of line.replaceAll(/\x1b\[\d+m/g, "")) {
    if (widthOf(kept + character) > width - 1) break;
    kept += character;
  }
  return `${kept}…`;
}

export interface ProgressOptions {
  /** Where to draw; default standard error, so that output can be piped. */
  readonly stream?: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  /** Seconds between lines where the stream is no terminal, default 5. */
  readonly intervalSeconds?: number;
  /** Default: on a terminal, unless NO_COLOR is set. */
  readonly color?: boolean;
  /** Seconds on any clock. */
  readonly now?: () => number;
}

/** Draws the progress of a run. */
export class ProgressLine {
  readonly #stream: NonNullable<ProgressOptions["stream"]>;
  readonly #interval: number;
  readonly #color: boolean;
  readonly #now: () => number;
  #last: ProgressState | undefined;
  #printedAt = Number.NEGATIVE_INFINITY;
  #drawn = false;

  constructor(options: ProgressOptions = {}) {
    this.#stream = options.stream ?? process.stderr;
    this.#interval = options.intervalSeconds ?? 5;
    this.#color = options.color ?? (this.#stream.isTTY === true && !process.env.NO_COLOR);
    this.#now = options.now ?? ((): number => performance.now() / 1000);
  }

  /** Shows a new state: at once on a terminal, else when the interval has passed. */
  update(state: ProgressState): void {
    this.#last = state;
    if (this.#stream.isTTY) {
      this.#stream.write(`\r\x1b[2K${this.#render(state)}`);
      this.#drawn = true;
    } else if (this.#now() - this.#printedAt >= this.#interval) {
      this.#print(state);
    }
  }

  /** Prints lines that stay, above the live line. */
  log(text: string): void {
    this.#clear();
    this.#stream.write(`${text}\n`);
    if (this.#stream.isTTY && this.#last !== undefined) this.update(this.#last);
  }

  /** Ends the live line: the last state stays, or `text` in its place. */
  finish(text?: string): void {
    const line = text ?? (this.#last === undefined ? undefined : this.#render(this.#last));
    this.#clear();
    if (line !== undefined) this.#stream.write(`${line}\n`);
    this.#last = undefined;
    this.#printedAt = Number.NEGATIVE_INFINITY;
  }

  #print(state: ProgressState): void {
    this.#printedAt = this.#now();
    this.#stream.write(`${this.#render(state)}\n`);
  }

  #render(state: ProgressState): string {
    const terminal = this.#stream.isTTY === true;
    if (terminal) return renderProgress(state, { columns: this.#stream.columns ?? 80, color: this.#color });
    return renderProgress(state, { columns: Number.POSITIVE_INFINITY, color: this.#color }).replaceAll(/[━╸─]+ /g, "");
  }

  #clear(): void {
    if (this.#drawn) this.#stream.write("\r\x1b[2K");
    this.#drawn = false;
  }
}
