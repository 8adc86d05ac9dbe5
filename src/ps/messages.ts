// The bodies that carry rows: push, pull, changes (Geo-SGD) and whole rows (saving and loading). Everything is little
// endian and every array starts at a multiple of 8 bytes. Requests that carry no rows are JSON: requests.ts.
//
// A push or pull has sections, each for some fields of one table or for one dense parameter. Keys of a section are unique;
// key 0 means "no feature": it pulls zeros and what is pushed to it is dropped. Values of a row lie packed: the fields of
// the section in the table's order, `width` numbers in all.
import { BodyReader, BodyWriter } from "./body.ts";
import { type WireType, wireBytes, wireTypes } from "./wire.ts";

export { type WireType, wireBytes, wireTypes };

const SPARSE = 0;
const DENSE = 1;
const HAS_SHOWS = 1;
const HAS_CLICKS = 2;
/** The most fields of a table: those of a section are bits of a u64. */
export const MAX_FIELDS = 64;
const MAX_SECTIONS = 65_536;

/** What a section is about: `table` and `fields` are places in the served model's lists. */
export interface SparseTarget {
  readonly table: number;
  /** Ascending. */
  readonly fields: readonly number[];
  /** Numbers a row: the sum of the fields' dims. */
  readonly width: number;
  readonly wire: WireType;
}

export interface SparsePush extends SparseTarget {
  readonly keys: BigUint64Array;
  /** [rows, width] of the wire's type: f32, or 16-bit words. Gradients; in mode `geo` differences of weights. */
  readonly values: ArrayBufferView;
  /** How often each key occurred, f32 [rows]; default once. */
  readonly shows?: Float32Array;
  /** How many of these were clicked on, f32 [rows]; default never. */
  readonly clicks?: Float32Array;
}

export interface DensePush {
  /** The parameter's place in the served model's list; values are those of the partition's piece. */
  readonly dense: number;
  readonly wire: WireType;
  readonly values: ArrayBufferView;
}

export interface Push {
  /** `definitionOf` the served model, so that nobody pushes to another one. */
  readonly definition: number;
  /** The rank. */
  readonly worker: number;
  /** In mode `sync` the optimizer steps done before this one; in the others for messages only: the server counts. */
  readonly step: number;
  /** Rows that the gradients are means over: what a worker's gradient counts in the mean of mode `sync`. */
  readonly samples: number;
  /** Batches that were merged into this push: by how much the server's count of steps advances in `async` modes. */
  readonly batches: number;
  readonly sections: readonly (SparsePush | DensePush)[];
}

/** A section as it lies in a body: the numbers are byte offsets. */
export interface SparseSection extends SparseTarget {
  readonly kind: "sparse";
  readonly rows: number;
  readonly keys: number;
  /** −1: none. Also `clicks`. */
  readonly shows: number;
  readonly clicks: number;
  /** Of a pull −1. */
  readonly values: number;
}

export interface DenseSection {
  readonly kind: "dense";
  readonly dense: number;
  readonly wire: WireType;
  readonly length: number;
  readonly values: number;
}

export type Section = SparseSection | DenseSection;

export interface PushView extends Omit<Push, "sections"> {
  readonly sections: readonly Section[];
  /** Bytes of the push: a pull may follow it. */
  readonly bytes: number;
}

export interface SparsePull extends SparseTarget {
  readonly keys: BigUint64Array;
}

export interface DensePull {
  readonly dense: number;
  readonly wire: WireType;
  /** Elements of the partition's piece. */
  readonly length: number;
}

export interface Pull {
  readonly definition: number;
  readonly worker: number;
  /** For evaluation: rows are not created, and not counted as used; those that are missing give zeros. */
  readonly readOnly: boolean;
  readonly sections: readonly (SparsePull | DensePull)[];
}

export interface PullView extends Omit<Pull, "sections"> {
  readonly sections: readonly Section[];
}

/** The parts of a push. Arrays are not copied. */
export function encodePush(push: Push): Uint8Array[] {
  const writer = new BodyWriter();
  writer.block(40, (view) => {
    view.setUint32(0, push.definition, true);
    view.setUint32(4, push.worker, true);
    view.setBigUint64(8, BigInt(push.step), true);
    view.setFloat64(16, push.samples, true);
    view.setUint32(24, push.batches, true);
    view.setUint32(28, push.sections.length, true);
  });
  for (const section of push.sections) {
    if ("dense" in section) {
      writeDense(writer, section.dense, section.wire, section.values.byteLength / wireBytes[section.wire]);
      writer.array(section.values);
      continue;
    }
    const { keys, shows, clicks, values } = section;
    const flags = (shows === undefined ? 0 : HAS_SHOWS) | (clicks === undefined ? 0 : HAS_CLICKS);
    writeSparse(writer, section, keys.length, flags);
    writer.array(keys);
    if (shows !== undefined) writer.array(shows);
    if (clicks !== undefined) writer.array(clicks);
    writer.array(values);
  }
  return writer.parts;
}

/** @throws RpcError `malformed` that names the field */
export function decodePush(body: Uint8Array): PushView {
  const reader = new BodyReader("push", body);
  const definition = reader.u32("definition");
  const worker = reader.u32("worker");
  const step = reader.count("step");
  const samples = reader.f64("samples");
  if (!(samples >= 0 && samples < Number.POSITIVE_INFINITY)) throw reader.error(`"samples" is ${samples}`);
  const batches = reader.u32("batches");
  const count = reader.u32("sections");
  reader.u64("reserved");
  const sections = readSections(reader, count, true);
  return { definition, worker, step, samples, batches, sections, bytes: reader.at };
}

/** The parts of a pull; arrays are not copied. A push-and-pull is the parts of the push, then these. */
export function encodePull(pull: Pull): Uint8Array[] {
  const writer = new BodyWriter();
  writer.block(16, (view) => {
    view.setUint32(0, pull.definition, true);
    view.setUint32(4, pull.worker, true);
    view.setUint32(8, pull.readOnly ? 1 : 0, true);
    view.setUint32(12, pull.sections.length, true);
  });
  for (const section of pull.sections) {
    if ("dense" in section) writeDense(writer, section.dense, section.wire, section.length);
    else {
      writeSparse(writer, section, section.keys.length, 0);
      writer.array(section.keys);
    }
  }
  return writer.parts;
}

/** @throws RpcError `malformed` that names the field */
export function decodePull(body: Uint8Array): PullView {
  const reader = new BodyReader("pull", body);
  const definition = reader.u32("definition");
  const worker = reader.u32("worker");
  const readOnly = reader.u32("flags") === 1;
  const sections = readSections(reader, reader.u32("sections"), false);
  reader.end();
  return { definition, worker, readOnly, sections };
}

/** Where the reply to a pull has the values of each section: behind the count of steps, a u64. */
export function pullReplyOffsets(sections: Pull["sections"]): { offsets: number[]; bytes: number } {
  let at = 8;
  const offsets = sections.map((section) => {
    const start = at;
    const elements = "dense" in section ? section.length : section.keys.length * section.width;
    at += Math.ceil((elements * wireBytes[section.wire]) / 8) * 8;
    return start;
  });
  return { offsets, bytes: at };
}

/**
 * What a reply to a push or pull starts with: the optimizer steps that the partition has done. Empty: the push was applied
 * before the server restarted and the pull that came with it must be repeated.
 */
export function decodeStep(reply: Uint8Array): number | undefined {
  return reply.byteLength === 0 ? undefined : new BodyReader("reply", reply).count("step");
}

function writeSparse(writer: BodyWriter, target: SparseTarget, rows: number, flags: number): void {
  const { table, fields, width, wire } = target;
  writer.block(24, (view) => {
    view.setUint8(0, SPARSE);
    view.setUint8(1, wireTypes.indexOf(wire));
    view.setUint8(2, flags);
    view.setUint32(4, table, true);
    view.setUint32(8, rows, true);
    view.setUint32(12, width, true);
    view.setBigUint64(
      16,
      fields.reduce((bits, field) => bits | (1n << BigInt(field)), 0n),
      true,
    );
  });
}

function writeDense(writer: BodyWriter, dense: number, wire: WireType, length: number): void {
  writer.block(24, (view) => {
    view.setUint8(0, DENSE);
    view.setUint8(1, wireTypes.indexOf(wire));
    view.setUint32(4, dense, true);
    view.setUint32(8, length, true);
  });
}

/** The fields of a bit mask, ascending. */
export function fieldsOf(bits: bigint): number[] {
  const fields: number[] = [];
  for (let field = 0; bits !== 0n; field++, bits >>= 1n) if ((bits & 1n) === 1n) fields.push(field);
  return fields;
}

function readSections(reader: BodyReader, count: number, values: boolean): Section[] {
  if (count > MAX_SECTIONS) throw reader.error(`"sections" is ${count}, more than ${MAX_SECTIONS}`);
  const sections: Section[] = [];
  for (let i = 0; i < count; i++) {
    const name = (field: string): string => `sections[${i}].${field}`;
    const word = reader.u32(name("kind"));
    const [kind, wireIndex, flags] = [word & 255, (word >>> 8) & 255, (word >>> 16) & 255];
    const wire = wireTypes[wireIndex];
    if (kind > DENSE) throw reader.error(`"${name("kind")}" is ${kind}`);
    if (wire === undefined) throw reader.error(`"${name("wire")}" is ${wireIndex}`);
    const id = reader.u32(name(kind === SPARSE ? "table" : "dense"));
    const rows = reader.u32(name("rows"));
    const width = reader.u32(name("width"));
    const bits = reader.u64(name("fields"));
    const bytes = wireBytes[wire];
    if (kind === DENSE) {
      const start = values ? reader.stretch(name("values"), rows, bytes) : -1;
      sections.push({ kind: "dense", dense: id, wire, length: rows, values: start });
      continue;
    }
    const keys = reader.stretch(name("keys"), rows, 8);
    const shows = (flags & HAS_SHOWS) !== 0 ? reader.stretch(name("shows"), rows, 4) : -1;
    const clicks = (flags & HAS_CLICKS) !== 0 ? reader.stretch(name("clicks"), rows, 4) : -1;
    const start = values ? reader.stretch(name("values"), rows * width, bytes) : -1;
    const target = { table: id, fields: fieldsOf(bits), width, wire };
    sections.push({ kind: "sparse", ...target, rows, keys, shows, clicks, values: start });
  }
  return sections;
}
