// What a connection between two relays carries: a length, a kind, and the bytes. Anything else ends the connection.
import { SLOT_BYTES } from "../window.ts";

export const Kind = { hello: 1, piece: 2, notice: 3, ping: 4 } as const;
export const HEADER_BYTES = 8;
const MOST: Readonly<Record<number, number>> = {
  [Kind.hello]: 64,
  [Kind.piece]: SLOT_BYTES,
  [Kind.notice]: 2048,
  [Kind.ping]: 0,
};

export function header(kind: number, bytes: number): Buffer {
  const head = Buffer.allocUnsafe(HEADER_BYTES);
  head.writeUInt32LE(bytes, 0);
  head.writeUInt32LE(kind, 4);
  return head;
}

/** @throws for a kind that is unknown and a length that it cannot have */
export function parseHeader(head: Buffer): { kind: number; bytes: number } {
  const [bytes, kind] = [head.readUInt32LE(0), head.readUInt32LE(4)];
  const most = MOST[kind];
  if (most === undefined || bytes > most || (kind === Kind.piece && bytes === 0)) {
    throw new Error(`sent no frame of a collective (kind ${kind}, ${bytes} bytes)`);
  }
  return { kind, bytes };
}
