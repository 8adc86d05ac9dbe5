// Writes a Parquet file of keys and numbers front to back: rows are gathered into groups, whose columns are written as they
// lie in memory, uncompressed. General writers take a JavaScript value for each number, a hundred times the time.
import type { FileHandle } from "node:fs/promises";
import { encodeFooter, MARK, type ParquetColumn, type RowGroup } from "./footer.ts";
import { pageHead } from "./pages.ts";

/** Memory of a group: readers hold one or more. */
const GROUP_BYTES = 2 ** 26;
const PAGE_BYTES = 2 ** 20;
const MAX_GROUP_ROWS = 2 ** 20;

export interface ParquetOptions {
  readonly columns: readonly ParquetColumn[];
  /** Text by key, in the footer. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly createdBy: string;
  /** Rows of a group; default: as many as 64 MiB hold. */
  readonly groupRows?: number;
}

interface Column extends ParquetColumn {
  readonly rowBytes: number;
  readonly group: Uint8Array;
}

export class ParquetWriter {
  readonly #file: FileHandle;
  readonly #options: ParquetOptions;
  readonly #columns: readonly Column[];
  readonly #groupRows: number;
  readonly #groups: RowGroup[] = [];
  #rows = 0;
  #at = 0;

  /** @throws RangeError for columns that have no names of their own, or no width */
  constructor(file: FileHandle, options: ParquetOptions) {
    const { columns } = options;
    const names = columns.map(({ name }) => name);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) throw new RangeError(`parquet: two columns are named "${twice}"`);
    if (columns.length === 0) throw new RangeError("parquet: a file needs at least one column");
    const bytes = columns.map(bytesOf);
    const fitting = Math.floor(GROUP_BYTES / bytes.reduce((a, b) => a + b, 0));
    this.#groupRows = options.groupRows ?? Math.min(MAX_GROUP_ROWS, Math.max(1, fitting));
    this.#columns = columns.map((column, i) => ({
      ...column,
      rowBytes: bytes[i]!,
      group: new Uint8Array(bytes[i]! * this.#groupRows),
    }));
    this.#file = file;
    this.#options = options;
  }

  /** @param data of each column the values of `rows` rows, contiguous: u64 or f32 */
  async write(rows: number, data: readonly ArrayBufferView[]): Promise<void> {
    for (let from = 0; from < rows; ) {
      const n = Math.min(rows - from, this.#groupRows - this.#rows);
      for (const [i, { name, rowBytes, group }] of this.#columns.entries()) {
        const { buffer, byteOffset, byteLength } = data[i]!;
        if (byteLength !== rows * rowBytes) {
          throw new RangeError(`parquet: column "${name}" got ${byteLength} bytes for ${rows} rows of ${rowBytes}`);
        }
        group.set(new Uint8Array(buffer, byteOffset + from * rowBytes, n * rowBytes), this.#rows * rowBytes);
      }
      this.#rows += n;
      from += n;
      if (this.#rows === this.#groupRows) await this.#flush();
    }
  }

  /** Writes what is left and the footer, and waits until the disk has it all. */
  async finish(): Promise<void> {
    if (this.#rows > 0) await this.#flush();
    if (this.#at === 0) await this.#put(MARK);
    const { columns, metadata = {}, createdBy } = this.#options;
    await this.#put(encodeFooter({ columns, groups: this.#groups, metadata, createdBy }));
    await this.#file.sync();
  }

  async #flush(): Promise<void> {
    if (this.#at === 0) await this.#put(MARK);
    const rows = this.#rows;
    const chunks = [];
    for (const { list, rowBytes, group } of this.#columns) {
      const offset = this.#at;
      const pageRows = Math.max(1, Math.floor(PAGE_BYTES / rowBytes));
      let head: { readonly rows: number; readonly bytes: Uint8Array } | undefined;
      for (let first = 0; first < rows; first += pageRows) {
        const n = Math.min(pageRows, rows - first);
        if (head?.rows !== n) head = { rows: n, bytes: pageHead(n, list, n * rowBytes) };
        await this.#put(head.bytes);
        await this.#put(group.subarray(first * rowBytes, (first + n) * rowBytes));
      }
      chunks.push({ offset, bytes: this.#at - offset, values: rows * (list ?? 1) });
    }
    this.#groups.push({ rows, chunks });
    this.#rows = 0;
  }

  async #put(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; ) {
      from += (await this.#file.write(bytes, from, bytes.length - from, this.#at + from)).bytesWritten;
    }
    this.#at += bytes.length;
  }
}

function bytesOf({ name, type, list }: ParquetColumn): number {
  if (type === "u64") return 8;
  if (list !== undefined && !(Number.isInteger(list) && list > 0)) {
    throw new RangeError(`parquet: lists of column "${name}" must have a length of at least 1, got ${list}`);
  }
  return 4 * (list ?? 1);
}
