// A saved model as one checkpoint, whoever saved it: a single process, or the partitions of servers, whose pieces of dense
// parameters and rows of tables are put together again.
import {
  type Checkpoint,
  CheckpointError,
  type JsonValue,
  openCheckpoint,
  type SavedTable,
  type TableChunk,
} from "../../checkpoint/index.ts";
import { partsIn } from "../part-folders.ts";

/** Close it, or declare it with `await using`. */
export interface WholeCheckpoint extends AsyncDisposable {
  readonly path: string;
  readonly state: JsonValue;
  /** Names of dense tensors, and of tables, those of statistics among them. */
  readonly tensors: ReadonlySet<string>;
  readonly tables: ReadonlySet<string>;
  /** The rows are in parts of partitions, which partitions of servers load by themselves. */
  readonly inParts: boolean;
  /** Fills `into`, all of the tensor. @throws CheckpointError when there is none of that size */
  readTensor(name: string, into: Float32Array): Promise<void>;
  /** Rows in the order of the files; chunks are only valid until the next one. @throws CheckpointError when there is none */
  table(name: string): Pick<SavedTable, "columns" | "chunks">;
}

/**
 * @param options.verifyParts check the files of partitions against their hashes, as all others are
 * @throws CheckpointError when it is missing, incomplete or damaged
 */
export async function openWholeCheckpoint(
  path: string,
  { verifyParts }: { readonly verifyParts: boolean },
): Promise<WholeCheckpoint> {
  await using opened = new AsyncDisposableStack();
  const open = async (folder: string, verify: boolean): Promise<Checkpoint> =>
    opened.use(await openCheckpoint(folder, { verify }));
  const own = await open(path, true);
  const parts: Checkpoint[] = [];
  for (const folder of partsIn(own.path) ?? []) parts.push(await open(folder, verifyParts));
  const checkpoint = wholeOf(own, parts);
  const stack = opened.move();
  return { ...checkpoint, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** A piece of a dense parameter, or of its optimizer state. */
interface Piece {
  readonly checkpoint: Checkpoint;
  /** `NAME@START` */
  readonly tensor: string;
  readonly start: number;
  readonly length: number;
}

function wholeOf(own: Checkpoint, parts: readonly Checkpoint[]): Omit<WholeCheckpoint, typeof Symbol.asyncDispose> {
  const { path, state } = own;
  const pieces = piecesOf(parts);
  return {
    ...{ path, state, inParts: parts.length > 0 },
    tensors: new Set([...own.tensors.keys(), ...pieces.keys()]),
    tables: new Set((parts[0] ?? own).tables.keys()),
    async readTensor(name, into) {
      const found = pieces.get(name);
      if (found === undefined) return await own.readTensor(name, into);
      // What is one number for all of a parameter, every piece has.
      const wanted = into.length === 1 ? found.slice(0, 1) : found;
      const length = wanted.reduce((sum, piece) => sum + piece.length, 0);
      if (length !== into.length) {
        throw new CheckpointError(path, `tensor "${name}" has ${length} numbers, expected ${into.length}`);
      }
      for (const { checkpoint, tensor, start, length } of wanted) {
        await checkpoint.readTensor(tensor, into.subarray(start, start + length));
      }
    },
    table(name) {
      if (parts.length === 0) return own.table(name);
      const tables = parts.map((part) => part.table(name));
      return { columns: tables[0]!.columns, chunks: (...range) => concatenated(tables, range) };
    },
  };
}

function piecesOf(parts: readonly Checkpoint[]): Map<string, Piece[]> {
  const pieces = new Map<string, Piece[]>();
  for (const checkpoint of parts) {
    for (const [tensor, { shape }] of checkpoint.tensors) {
      const at = tensor.lastIndexOf("@");
      const name = tensor.slice(0, at);
      const piece = { checkpoint, tensor, start: Number(tensor.slice(at + 1)), length: shape[0]! };
      pieces.set(name, [...(pieces.get(name) ?? []), piece]);
    }
  }
  for (const list of pieces.values()) list.sort((a, b) => a.start - b.start);
  return pieces;
}

async function* concatenated(
  tables: readonly SavedTable[],
  range: Parameters<SavedTable["chunks"]>,
): AsyncGenerator<TableChunk> {
  for (const table of tables) yield* table.chunks(...range);
}
