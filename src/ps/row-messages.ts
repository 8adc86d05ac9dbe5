// The bodies that carry rows outside of training steps: what changed since (Geo-SGD), and chunks of whole rows with
// optimizer state (saving and loading).
import { BodyReader, BodyWriter } from "./body.ts";
import { fieldsOf, type WireType, wireBytes, wireTypes } from "./messages.ts";

/**
 * How far a worker has seen the changes of a partition's table: as the last reply said, or `seenNothing`. The server keeps
 * nothing about workers; where its record of changes no longer reaches back (a restart, a long pause) it gives every row.
 */
export interface ChangesPosition {
  readonly epoch: bigint;
  readonly since: bigint;
  readonly scan: bigint;
}

/** A worker that has no rows yet: its first request gives none, and where later ones begin. */
export const seenNothing: ChangesPosition = { epoch: 0n, since: 0n, scan: 0n };

/** Asks for rows that others have changed. The same request may be sent again. */
export interface Changes {
  readonly definition: number;
  readonly worker: number;
  readonly table: number;
  readonly fields: readonly number[];
  readonly wire: WireType;
  readonly maxRows: number;
  readonly position: ChangesPosition;
}

export interface ChangesReply {
  readonly position: ChangesPosition;
  /** Whether more is there to be asked for at once. */
  readonly more: boolean;
  readonly width: number;
  readonly keys: BigUint64Array;
  /** [rows, width] of the wire's type, as bytes at a multiple of 8 of the reply's buffer. */
  readonly values: Uint8Array;
}

export function encodeChanges(changes: Changes): Uint8Array[] {
  const writer = new BodyWriter();
  writer.block(56, (view) => {
    view.setUint32(0, changes.definition, true);
    view.setUint32(4, changes.worker, true);
    view.setUint32(8, changes.table, true);
    view.setUint32(12, changes.maxRows, true);
    view.setUint32(16, wireTypes.indexOf(changes.wire), true);
    view.setBigUint64(
      24,
      changes.fields.reduce((bits, field) => bits | (1n << BigInt(field)), 0n),
      true,
    );
    writePosition(view, 32, changes.position);
  });
  return writer.parts;
}

/** @throws RpcError `malformed` that names the field */
export function decodeChanges(body: Uint8Array): Changes {
  const reader = new BodyReader("changes", body);
  const definition = reader.u32("definition");
  const worker = reader.u32("worker");
  const table = reader.u32("table");
  const maxRows = reader.u32("maxRows");
  const wire = wireTypes[reader.u32("wire")];
  if (wire === undefined) throw reader.error('"wire" is unknown');
  reader.u32("reserved");
  const fields = fieldsOf(reader.u64("fields"));
  const position = readPosition(reader);
  reader.end();
  return { definition, worker, table, maxRows, wire, fields, position };
}

export function encodeChangesReply(reply: ChangesReply): Uint8Array[] {
  const writer = new BodyWriter();
  writer.block(40, (view) => {
    writePosition(view, 0, reply.position);
    view.setUint32(24, reply.more ? 1 : 0, true);
    view.setUint32(28, reply.keys.length, true);
    view.setUint32(32, reply.width, true);
    view.setUint32(36, reply.values.byteLength / Math.max(1, reply.keys.length * reply.width), true);
  });
  writer.array(reply.keys);
  writer.array(reply.values);
  return writer.parts;
}

/** Views of the reply, which must start at a multiple of 8. @throws RpcError `malformed` that names the field */
export function decodeChangesReply(body: Uint8Array): ChangesReply {
  const reader = new BodyReader("reply to changes", body);
  const position = readPosition(reader);
  const more = reader.u32("more") !== 0;
  const rows = reader.u32("rows");
  const width = reader.u32("width");
  const bytes = reader.u32("bytes");
  const keys = viewKeys(body, reader.stretch("keys", rows, 8), rows);
  const start = reader.stretch("values", rows * width, bytes);
  reader.end();
  return { position, more, width, keys, values: body.subarray(start, start + rows * width * bytes) };
}

/** Some rows with all their columns; the columns are those of the table's rows, by name, as in checkpoints. */
export interface RowChunk {
  readonly table: number;
  readonly keys: BigUint64Array;
  readonly columns: readonly { readonly width: number; readonly values: Float32Array }[];
}

/** The parts of rows to be written as they are (loading), and of the rows that a scan gives. Arrays are not copied. */
export function encodeRows({ table, keys, columns }: RowChunk): Uint8Array[] {
  const writer = new BodyWriter();
  writer.block(16, (view) => {
    view.setUint32(0, table, true);
    view.setUint32(4, keys.length, true);
    view.setUint32(8, columns.length, true);
  });
  for (const { width } of columns) writer.block(8, (view) => view.setUint32(0, width, true));
  writer.array(keys);
  for (const { values } of columns) writer.array(values);
  return writer.parts;
}

const MAX_COLUMNS = 1024;

/** Views of the body, which must start at a multiple of 8. @throws RpcError `malformed` that names the field */
export function decodeRows(body: Uint8Array): RowChunk {
  const reader = new BodyReader("rows", body);
  const table = reader.u32("table");
  const rows = reader.u32("rows");
  const count = reader.u32("columns");
  reader.u32("reserved");
  if (count > MAX_COLUMNS) throw reader.error(`"columns" is ${count}, more than ${MAX_COLUMNS}`);
  const widths = Array.from({ length: count }, (_, i) => reader.count(`columns[${i}].width`));
  const keys = viewKeys(body, reader.stretch("keys", rows, 8), rows);
  const columns = widths.map((width, i) => {
    const start = reader.stretch(`columns[${i}]`, rows * width, wireBytes.f32);
    return { width, values: new Float32Array(body.buffer, body.byteOffset + start, rows * width) };
  });
  reader.end();
  return { table, keys, columns };
}

function viewKeys(body: Uint8Array, start: number, rows: number): BigUint64Array {
  return new BigUint64Array(body.buffer, body.byteOffset + start, rows);
}

function writePosition(view: DataView, at: number, { epoch, since, scan }: ChangesPosition): void {
  view.setBigUint64(at, epoch, true);
  view.setBigUint64(at + 8, since, true);
  view.setBigUint64(at + 16, scan, true);
}

function readPosition(reader: BodyReader): ChangesPosition {
  return { epoch: reader.u64("epoch"), since: reader.u64("since"), scan: reader.u64("scan") };
}
