// How ranks notice that they were not asked for the same: in each collective the first message to a peer begins with a note
// that numbers the call and describes it. Notes that differ become an error which says both.
import { MismatchError, PeerError } from "./errors.ts";

export const NOTE_BYTES = 256;
const MAGIC = 0x666c6331;
const TEXT = 16;

const encoder = new TextEncoder();

/** The note of a call but for its number: magic, number, hash of the whole text, length; then the text, cut if too long. */
export function noteOf(text: string): Uint8Array {
  const note = new Uint8Array(NOTE_BYTES);
  const words = new Uint32Array(note.buffer);
  const bytes = encoder.encode(text);
  const shown = bytes.subarray(0, NOTE_BYTES - TEXT);
  words.set([MAGIC, 0, hash(bytes), shown.length]);
  note.set(shown, TEXT);
  return note;
}

/** FNV-1a. */
function hash(bytes: Uint8Array): number {
  let value = 0x811c9dc5;
  for (const byte of bytes) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value;
}

/** @param words views of the own note and of the peer's */
export function compareNotes(own: Uint32Array, theirs: Uint32Array, rank: number, peer: number): void {
  if (theirs[0] === own[0] && theirs[1] === own[1] && theirs[2] === own[2]) return;
  if (theirs[0] !== MAGIC) {
    throw new PeerError(peer, `rank ${peer} sent data where a new collective should begin; its calls are out of step`);
  }
  const [here, there] = [textOf(own), textOf(theirs)];
  throw new MismatchError(
    peer,
    `ranks disagree: call ${own[1]} of rank ${rank} is ${here}, call ${theirs[1]} of rank ${peer} is ${there}; ` +
      "all ranks must make the same calls in the same order",
  );
}

function textOf(words: Uint32Array): string {
  const bytes = new Uint8Array(words.buffer, words.byteOffset + TEXT, Math.min(words[3]!, NOTE_BYTES - TEXT));
  return Buffer.from(bytes).toString();
}
