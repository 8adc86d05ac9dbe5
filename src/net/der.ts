// Distinguished Encoding Rules (ITU-T X.690): the few types that certificates are made of.

/** Tags of the universal class; sequences and sets are constructed. */
const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** A value with its tag and length. */
export function tagged(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

export const sequence = (...items: readonly Uint8Array[]): Buffer => tagged(tags.sequence, ...items);
export const set = (...items: readonly Uint8Array[]): Buffer => tagged(tags.set, ...items);
export const octetString = (content: Uint8Array): Buffer => tagged(tags.octetString, content);
export const utf8String = (text: string): Buffer => tagged(tags.utf8String, Buffer.from(text));
export const boolean = (value: boolean): Buffer => tagged(tags.boolean, Buffer.from([value ? 0xff : 0]));

/** A constructed value whose tag depends on where it stands: [0], [3]. */
export const explicit = (number: number, ...items: readonly Uint8Array[]): Buffer => tagged(0xa0 | number, ...items);
/** A primitive value whose tag depends on where it stands. */
export const implicit = (number: number, content: Uint8Array): Buffer => tagged(0x80 | number, content);

/** A number that is not negative, from its bytes, the highest first. */
export function integer(bytes: Uint8Array): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = first < 0 ? Buffer.from([0]) : bytes.subarray(first);
  return tagged(tags.integer, ...((digits[0]! & 0x80) === 0 ? [digits] : [Buffer.from([0]), digits]));
}

/** `unused` is the number of bits of the last byte that do not count. */
export const bitString = (content: Uint8Array, unused = 0): Buffer =>
  tagged(tags.bitString, Buffer.from([unused]), content);

/** As "1.2.840.10045.4.3.2". */
export function objectIdentifier(text: string): Buffer {
  const [first, second, ...rest] = text.split(".").map(Number) as [number, number, ...number[]];
  return tagged(tags.objectIdentifier, Buffer.from([40 * first + second, ...rest.flatMap(base128)]));
}

/** To the second. Years before 2050 are written with two digits, as RFC 5280 wants it. */
export function time(date: Date): Buffer {
  const digits = `${date.toISOString().replaceAll(/[-:T]/g, "").slice(0, 14)}Z`;
  const short = date.getUTCFullYear() < 2050;
  return tagged(short ? tags.utcTime : tags.generalizedTime, Buffer.from(short ? digits.slice(2) : digits));
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest >>= 8) bytes.unshift(rest & 0xff);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

function base128(value: number): number[] {
  const digits = [value & 0x7f];
  for (let rest = value >> 7; rest > 0; rest >>= 7) digits.unshift(0x80 | (rest & 0x7f));
  return digits;
}
