// The methods of a partition, and the bodies that are JSON: defining, saving, loading, shrinking, statistics, inspecting.
import { z } from "zod";
import { malformed } from "./body.ts";

/**
 * By what partitions are called; `once` methods are applied once however often they are sent.
 * - `define`: JSON ServedModel → JSON DefineReply. The same model again is fine.
 * - `pull`, `push`, `pushPull`: messages.ts; replies start with the count of steps.
 * - `changes`: row-messages.ts.
 * - `initialise`: a push of dense sections with f32 values: they overwrite the weights, optimizer state starts anew.
 * - `dense`: JSON DenseRequest → the f32 values of the partition's piece, of the weights or of a slot.
 * - `putDense`: JSON DenseRequest, NUL, padding to 8, f32 values: overwrites weights or a slot (loading).
 * - `scan`: JSON ScanRequest → JSON ScanReply; `scanRows`: JSON ScanRowsRequest → encodeRows, in ascending order of keys;
 *   `endScan`.
 * - `putRows`: encodeRows; rows of other partitions in it are left out, so that every partition may get the same chunk.
 * - `setSteps`: JSON { steps }: after loading.
 * - `save`, `load`: JSON SaveRequest, LoadRequest: files on the server's disk.
 * - `shrink`: → JSON ShrinkReply. `statistics`: → JSON PartitionStatistics. `inspect`: JSON InspectRequest → InspectReply.
 * - `workers`: JSON { ranks }: whom mode `sync` waits for from now on.
 */
export const methods = {
  define: { once: true },
  pull: { once: false },
  push: { once: true },
  pushPull: { once: true },
  changes: { once: false },
  initialise: { once: true },
  dense: { once: false },
  putDense: { once: true },
  scan: { once: true },
  scanRows: { once: false },
  endScan: { once: false },
  putRows: { once: true },
  setSteps: { once: true },
  save: { once: true },
  load: { once: true },
  shrink: { once: true },
  statistics: { once: false },
  inspect: { once: false },
  workers: { once: true },
} as const satisfies Record<string, { readonly once: boolean }>;
export type PsMethod = keyof typeof methods;

/** Calls a partition: over the network or in the same process. */
export interface PartitionClient {
  /** @param into where the reply may be written if it fits; the promise then gives its part of it */
  call(method: PsMethod, parts: readonly Uint8Array[], into?: Uint8Array): Promise<Uint8Array>;
}

/**
 * `all`; `delta`: rows of score that gained enough since the last delta save; `base`: all rows of score; `daily`: all rows.
 * `delta` begins the gains of its rows anew and `daily` makes all rows a day older, at once: where the save then fails, save
 * again as `base` or `all`. Without an accessor all modes are `all`.
 */
export const saveModes = ["all", "delta", "base", "daily"] as const;
export type SaveMode = (typeof saveModes)[number];

const count = z.int().nonnegative();
const schemas = {
  dense: z.strictObject({ dense: count, slot: count.optional() }),
  scan: z.strictObject({
    table: count,
    mode: z.enum(saveModes).default("all"),
    statistics: z.boolean().default(false),
  }),
  scanRows: z.strictObject({ scan: count, first: count, rows: count.max(1 << 20) }),
  endScan: z.strictObject({ scan: count }),
  setSteps: z.strictObject({ steps: count }),
  save: z.strictObject({ folder: z.string().min(1), mode: z.enum(saveModes).default("all") }),
  load: z.strictObject({ folder: z.string().min(1) }),
  inspect: z.strictObject({ table: count, key: z.string().regex(/^(0x[0-9a-f]{1,16}|\d{1,20})$/i) }),
  workers: z.strictObject({ ranks: z.array(count.max(65_535)).max(65_536) }),
} as const;

/** `slot`: a slot's place in the rule; absent: the weights. */
export type DenseRequest = z.input<(typeof schemas)["dense"]>;
export type ScanRequest = z.input<(typeof schemas)["scan"]>;
export type ScanRowsRequest = z.input<(typeof schemas)["scanRows"]>;
export type EndScanRequest = z.input<(typeof schemas)["endScan"]>;
export type SaveRequest = z.input<(typeof schemas)["save"]>;
export type LoadRequest = z.input<(typeof schemas)["load"]>;
/** The key in decimal, or in hexadecimal behind 0x. */
export type InspectRequest = z.input<(typeof schemas)["inspect"]>;
export type WorkersRequest = z.input<(typeof schemas)["workers"]>;

export interface DefineReply {
  readonly definition: number;
  /** Optimizer steps done: more than 0 where the partition has come back from disk. */
  readonly steps: number;
}

export interface ScanReply {
  readonly scan: number;
  readonly rows: number;
  readonly columns: readonly { readonly name: string; readonly width: number }[];
}

export interface ShrinkReply {
  readonly dropped: number;
  readonly rows: number;
}

export interface SaveReply {
  /** Of each table, in the model's order. */
  readonly rows: readonly number[];
  readonly bytes: number;
}

export interface TableStatistics {
  readonly name: string;
  /** Rows with weights of any field, on disk or in memory. */
  readonly rows: number;
  readonly spilled: number;
  /** Keys that were seen but not admitted yet. */
  readonly candidates: number;
  readonly bytes: number;
  readonly diskBytes: number;
  readonly pulledRows: number;
  readonly pushedRows: number;
  /** The share of rows that were asked for and in memory, of those that there are. */
  readonly hitShare: number;
}

export interface PartitionStatistics {
  readonly partition: number;
  readonly steps: number;
  readonly pulls: number;
  readonly pushes: number;
  readonly refused: number;
  /** Bytes of push and pull bodies and of pull replies. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Memory in use. */
  readonly bytes: number;
  readonly journalBytes: number;
  readonly tables: readonly TableStatistics[];
  /** Mode `sync`: whose push of the current step is missing, since when (milliseconds). */
  readonly waitingFor: readonly number[];
  readonly waitingMs: number;
}

export interface InspectReply {
  readonly found: boolean;
  /** By column: fields and slots. */
  readonly columns: Readonly<Record<string, readonly number[]>>;
  readonly statistics?: {
    readonly show: number;
    readonly click: number;
    readonly unseen: number;
    readonly delta: number;
  };
  readonly spilled: boolean;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export const encodeJson = (value: unknown): Uint8Array[] => [encoder.encode(JSON.stringify(value))];

/** JSON without a schema: replies of servers, which are trusted. */
export const decodeJson = (body: Uint8Array): unknown => parse("reply", body);

/** @throws RpcError `malformed` that names the method and the field */
export function decodeRequest<K extends keyof typeof schemas>(
  method: K,
  body: Uint8Array,
): z.output<(typeof schemas)[K]> {
  const parsed = schemas[method].safeParse(parse(method, body));
  if (!parsed.success) throw malformed(`${method}: ${z.prettifyError(parsed.error)}`);
  return parsed.data as z.output<(typeof schemas)[K]>;
}

export function parse(what: string, body: Uint8Array): unknown {
  try {
    // A copy, since decoders refuse shared memory.
    return JSON.parse(decoder.decode(body.slice()));
  } catch (cause) {
    throw malformed(`${what}: the body is not JSON: ${(cause as Error).message}`);
  }
}
