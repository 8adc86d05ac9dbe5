// Headers of the relay's frames: what goes in comes out, and nothing that would make it reserve or skip bytes gets through.
import fc from "fast-check";
import { expect, test } from "vitest";
import { SLOT_BYTES } from "../window.ts";
import { HEADER_BYTES, header, Kind, parseHeader } from "./frames.ts";

test("headers come back as they went", () => {
  for (const [kind, bytes] of [
    [Kind.hello, 16],
    [Kind.piece, 1],
    [Kind.piece, SLOT_BYTES],
    [Kind.notice, 40],
    [Kind.ping, 0],
  ] as const) {
    expect(parseHeader(header(kind, bytes))).toEqual({ kind, bytes });
  }
});

test.each([
  [Kind.piece, 0],
  [Kind.piece, SLOT_BYTES + 1],
  [Kind.ping, 1],
  [Kind.notice, 4096],
  [9, 0],
])("kind %i with %i bytes is refused", (kind, bytes) => {
  expect(() => parseHeader(header(kind, bytes))).toThrow(/no frame of a collective/);
});

test("any bytes are a frame within the limits, or refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: HEADER_BYTES, maxLength: HEADER_BYTES }), (bytes) => {
      try {
        expect(parseHeader(Buffer.from(bytes)).bytes).toBeLessThanOrEqual(SLOT_BYTES);
      } catch (error) {
        expect((error as Error).message).toMatch(/no frame/);
      }
    }),
  );
});
