// Tables for the terminal: light box-drawing lines, columns as wide as they need, numbers to the right.
import { stripVTControlCharacters } from "node:util";
import { formatNumber } from "./units.ts";

export type Cell = string | number | boolean | null | undefined;

export interface TableOptions {
  /** Which columns, in which order; default: all, in order of first appearance. */
  readonly columns?: readonly string[];
  /** A line above the table. */
  readonly title?: string;
}

/**
 * Renders rows as a table. Columns of which every value is a number (or text that starts with a digit) are right-aligned.
 * @example formatTable([{ model: "DeepFM", AUC: 0.7421 }, { model: "logistic", AUC: 0.7213 }])
 */
export function formatTable(rows: readonly Readonly<Record<string, Cell>>[], options: TableOptions = {}): string {
  const columns = options.columns ?? [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const texts = rows.map((row) => columns.map((column) => textOf(row[column])));
  const widths = columns.map((column, c) => Math.max(widthOf(column), ...texts.map((row) => widthOf(row[c]!))));
  const right = columns.map((_, c) => texts.length > 0 && texts.every((row) => /^([-+–]?[\d.∞]|–?$)/.test(row[c]!)));
  const line = (cells: readonly string[]): string =>
    `│${cells.map((cell, c) => ` ${pad(cell, widths[c]!, right[c]!)} `).join("│")}│`;
  const rule = (left: string, middle: string, end: string): string =>
    left + widths.map((width) => "─".repeat(width + 2)).join(middle) + end;
  return [
    ...(options.title === undefined ? [] : [options.title]),
    rule("┌", "┬", "┐"),
    line(columns),
    rule("├", "┼", "┤"),
    ...texts.map(line),
    rule("└", "┴", "┘"),
  ].join("\n");
}

function textOf(cell: Cell): string {
  if (cell === null || cell === undefined) return "–";
  const text = typeof cell === "number" && !Number.isInteger(cell) ? formatNumber(cell) : String(cell);
  return text.replaceAll(/[\n\r\t]/g, " ");
}

function pad(text: string, width: number, right: boolean): string {
  const space = " ".repeat(width - widthOf(text));
  return right ? space + text : text + space;
}

/** Columns that a text takes: escape sequences and combining marks take none, wide scripts and emoji two. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of stripVTControlCharacters(text).normalize("NFC")) {
    if (/[\p{Mark}\p{Cf}]/u.test(character)) continue;
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\p{Emoji_Presentation}]/u.test(
        character,
      )
        ? 2
        : 1;
  }
  return width;
}
