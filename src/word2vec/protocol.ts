// What the main thread and the threads of word2vec say to each other: messages start and end work; while it lasts they
// share words of the heap.
import type { DataFile } from "../data/index.ts";
import type { MatricesHandle } from "./matrices.ts";

/** Words of the heap that all threads share. */
export const CONTROL_WORDS = 8;
/** The next piece of work that nobody has taken. */
export const NEXT = 0;
/** The next block of the token file that nobody has taken. */
export const NEXT_BLOCK = 1;
/** Not 0: leave work where it is. */
export const STOP = 2;
/** Pieces of work that are done. */
export const DONE = 3;
/** How often a synchronisation has become due. */
export const DUE = 4;
/** Up to which of these it has been done. */
export const SYNCHRONISED = 5;

/** Words that the token file is cut into; every block was written by one thread. */
export const BLOCK_WORDS = 65536;
/** Words that a thread trains on before it looks up: the learning rate changes, others may stop it. */
export const CHUNK_WORDS = 8192;

export interface WorkerData {
  readonly memory: WebAssembly.Memory;
  readonly thread: number;
  /** Address of the control words. */
  readonly control: number;
  /** The token file, open for reading and writing in the whole process. */
  readonly file: number;
}

/** A piece of a file, in bytes of text. */
export interface TextUnit {
  readonly file: number;
  readonly start: number;
  readonly end: number;
  /** Whether its words belong to this worker's share, or are only counted. */
  readonly own: boolean;
}

/** Reads text: a table of words, and their entries as blocks of the token file. */
export interface ReadRequest {
  readonly type: "read";
  readonly files: readonly DataFile[];
  readonly units: readonly TextUnit[];
  /**
   * Words of other workers' pieces are kept too, and no block holds words of two pieces: then blocks are the same in all
   * workers, and so are the phrases that are found in them.
   */
  readonly all: boolean;
  /** f64 for each thread: bytes of files read. */
  readonly progress: number;
}

/** A block of the token file. */
export interface TextBlock {
  readonly block: number;
  /** That it holds, from its first on. */
  readonly words: number;
  /** Whether they belong to this worker's share. */
  readonly own: boolean;
}

export interface ReadResult {
  /** Address of the thread's WordTable, which now belongs to the asker. */
  readonly table: number;
  readonly blocks: readonly TextBlock[];
}

/** Replaces words by other numbers, in place; each block by the numbers of the thread that wrote it. */
export interface RenumberRequest {
  readonly type: "renumber";
  /** Address of the numbers for each block of the file. */
  readonly numbers: readonly number[];
}

/** Counts pairs of neighbours. */
export interface PairsRequest {
  readonly type: "pairs";
  readonly blocks: number;
}

export interface PairsResult {
  /** Address of the table of pairs, which now belongs to the asker. */
  readonly slots: number;
  readonly mask: number;
  readonly pairs: number;
}

/** Joins pairs to phrases, in place, and counts words anew. */
export interface JoinRequest {
  readonly type: "join";
  readonly blocks: number;
  readonly slots: number;
  readonly mask: number;
  /** f64 for each word, for each thread. */
  readonly counts: readonly number[];
}

export interface TrainRequest {
  readonly type: "train";
  readonly matrices: MatricesHandle;
  /** Numbers of the chunks of the token file that hold words. */
  readonly chunks: Uint32Array;
  readonly epochs: number;
  readonly lr: number;
  readonly window: number;
  readonly negative: number;
  readonly cbow: boolean;
  readonly seed: number;
  /** Chunks, over all epochs, that are done already. */
  readonly first: number;
  /** Chunks after which a synchronisation is due, and whether threads wait for it. */
  readonly chunksASynchronisation?: number;
  readonly wait?: boolean;
}

export type Request = ReadRequest | RenumberRequest | PairsRequest | JoinRequest | TrainRequest;

export interface Reply {
  readonly result?: unknown;
  readonly error?: { readonly message: string; readonly stack?: string };
  /** What structured clone drops of a DataError. */
  readonly place?: { readonly problem: string; readonly file: string; readonly line: number | undefined };
}
