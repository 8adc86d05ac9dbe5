// What is wrong with data, and where.

/** A place in a file that cannot be read as its dataset says. */
export class DataError extends Error {
  override readonly name = "DataError";
  /** What is wrong, without the place. */
  readonly problem: string;
  readonly file: string;
  /** 1-based line of a text file. */
  readonly line: number | undefined;

  constructor(problem: string, file: string, line?: number) {
    super(`${file}${line === undefined ? "" : `:${line}`}: ${problem}`);
    this.problem = problem;
    this.file = file;
    this.line = line;
  }
}

/** A bad line before its number is known: that costs a pass over the file. */
export interface BadLine {
  /** Byte offset in the (uncompressed) file. */
  readonly offset: number;
  /** Column, what was expected, what was found. */
  readonly problem: string;
}

/** `text` in quotes with control characters escaped, cut to `most` characters. */
export function quoted(text: string, most = 40): string {
  const shown = JSON.stringify(text.length > most ? text.slice(0, most) : text);
  return text.length > most ? `${shown}… (${text.length} characters)` : shown;
}
