// The head of a CSV file: lines to pass over, then the names of the columns.
import { DataError } from "./errors.ts";
import type { CsvSpec } from "./spec.ts";

/** The columns and the offset of the first row. @throws DataError when there is no whole header line in `head`. */
export function readHeader(head: Buffer, spec: CsvSpec, path: string): { columns: readonly string[]; start: number } {
  let start = head.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf])) ? 3 : 0;
  const line = (what: string): string => {
    const newline = head.indexOf(10, start);
    const end = newline < 0 ? head.length : newline;
    if (start >= head.length || (newline < 0 && head.length >= 64 * 1024)) {
      throw new DataError(`has no whole ${what} in its first ${head.length} bytes`, path);
    }
    const text = head.toString("utf8", start, end);
    start = end + 1;
    return text.endsWith("\r") ? text.slice(0, -1) : text;
  };
  for (let i = 0; i < spec.skipLines; i++) line("line to skip");
  if (spec.columns !== undefined) return { columns: spec.columns, start };
  const columns = splitLine(line("header line"), spec);
  const repeated = columns.find((name, i) => columns.indexOf(name) !== i);
  if (repeated !== undefined) throw new DataError(`names column "${repeated}" twice in its header`, path);
  return { columns, start: Math.min(start, head.length) };
}

/** The fields of one line by the book: the plain twin of the kernel. */
export function splitLine(line: string, spec: Pick<CsvSpec, "delimiter" | "quote" | "trim">): string[] {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    let field = "";
    if (spec.trim) while (line[at] === " " && at < line.length) at++;
    if (spec.quote !== false && line[at] === spec.quote) {
      for (at++; at < line.length; at++) {
        if (line[at] === spec.quote) {
          if (line[at + 1] !== spec.quote) break;
          at++;
        }
        field += line[at];
      }
      at++;
      if (spec.trim) while (line[at] === " " && at < line.length) at++;
    } else {
      const end = line.indexOf(spec.delimiter, at);
      field = line.slice(at, end < 0 ? line.length : end);
      at += field.length;
      if (spec.trim) field = field.trim();
    }
    fields.push(field);
    if (at >= line.length) return fields;
    at++;
  }
}
