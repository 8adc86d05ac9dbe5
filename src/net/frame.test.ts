// Frames from streams of bytes, whole, in pieces, damaged and invented.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConnectionError } from "./error.ts";
import { type Frame, FrameDecoder, HEADER_BYTES, type Kind, kinds } from "./frame.ts";
import { frameBytes, ofOtherVersion } from "./testing.ts";

const MAX_FRAME = 1 << 15;
const MAX_U32 = 0xffffffff;

interface Collected {
  readonly frames: Frame[];
  readonly decoder: FrameDecoder;
}

function collecting(maxFrameBytes = MAX_FRAME): Collected {
  const frames: Frame[] = [];
  const decoder = new FrameDecoder({ maxFrameBytes, onFrame: (frame) => frames.push({ ...frame }) });
  return { frames, decoder };
}

const frame = fc.record({
  kind: fc.constantFrom<Kind>(...Object.values(kinds)),
  method: fc.nat(0xffff),
  sequence: fc.maxSafeNat(),
  milliseconds: fc.nat(MAX_U32),
  settled: fc.nat(MAX_U32),
  body: fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.nat(MAX_FRAME).map((length) => new Uint8Array(length).fill(length)),
  ),
});

/** Cuts bytes at random places. */
const cuts = fc.array(fc.nat(1 << 17), { maxLength: 20 });

function pieces(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [0, ...at.map((each) => each % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, i) => bytes.subarray(places[i]!, end));
}

/** As a socket does it: the memory serves for the next piece. */
function give(decoder: FrameDecoder, piece: Buffer): void {
  const read = Buffer.from(piece);
  decoder.push(read);
  read.fill(0xff);
}

const bytesOf = ({ body, ...fields }: Frame): Buffer => frameBytes(fields, body);

describe("the decoder", () => {
  it("gives the frames that were written, however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), cuts, (sent, at) => {
        const { frames, decoder } = collecting();
        for (const piece of pieces(Buffer.concat(sent.map(bytesOf)), at)) give(decoder, piece);
        expect(frames).toEqual(sent);
        expect(frames.every(({ body }) => body.byteOffset % 8 === 0)).toBe(true);
        expect(decoder.partial).toBe(false);
      }),
    );
  });

  it("gives the same frames when it is paused at any of them", () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 8 }), cuts, fc.nat(7), (sent, at, stop) => {
        const frames: Frame[] = [];
        const decoder: FrameDecoder = new FrameDecoder({
          maxFrameBytes: MAX_FRAME,
          onFrame: (each) => {
            frames.push({ ...each });
            if (frames.length === stop) decoder.pause();
          },
        });
        for (const piece of pieces(Buffer.concat(sent.map(bytesOf)), at)) give(decoder, piece);
        if (stop > 0 && stop <= sent.length) expect(frames.length).toBe(stop);
        decoder.resume();
        expect(frames).toEqual(sent);
      }),
    );
  });

  it("waits where a body may not be allocated, and goes on when it may", () => {
    let allowed = false;
    const frames: Frame[] = [];
    const decoder = new FrameDecoder({
      maxFrameBytes: MAX_FRAME,
      onFrame: (each) => frames.push({ ...each }),
      admit: () => allowed,
    });
    const body = new Uint8Array(100).fill(3);
    decoder.push(Buffer.concat([frameBytes({ kind: kinds.ping }), frameBytes({ kind: kinds.call }, body)]));
    expect([frames.length, decoder.paused]).toEqual([1, true]);
    decoder.resume();
    expect([frames.length, decoder.paused]).toEqual([1, true]);
    allowed = true;
    decoder.resume();
    expect(frames[1]!.body).toEqual(body);
  });

  it("notices every flipped bit", () => {
    fc.assert(
      fc.property(frame, fc.nat(), (sent, bit) => {
        const bytes = bytesOf(sent);
        const at = bit % (8 * bytes.length);
        bytes[at >> 3]! ^= 1 << (at & 7);
        const { frames, decoder } = collecting();
        expect(() => decoder.push(bytes)).toThrow(ConnectionError);
        expect(frames).toEqual([]);
      }),
    );
  });

  it("takes random bytes for nothing else than an error or the start of a frame", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), fc.boolean(), (bytes, likely) => {
        const chunk = Buffer.from(bytes);
        if (likely) chunk.write("FLOT\x01\x03", 0, "latin1");
        const { frames, decoder } = collecting();
        try {
          decoder.push(chunk);
        } catch (error) {
          expect(error).toBeInstanceOf(ConnectionError);
        }
        expect(frames).toEqual([]);
      }),
    );
  });

  it.each([MAX_FRAME + 1, 2 ** 31, MAX_U32])("refuses a length of %d before it allocates", (length) => {
    const { decoder } = collecting();
    const before = process.memoryUsage().arrayBuffers;
    expect(() => decoder.push(frameBytes({ kind: kinds.call }, new Uint8Array(0), length))).toThrow(
      `sent a frame of ${length} bytes where ${MAX_FRAME} are allowed`,
    );
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 22);
  });

  it("names a version, a kind and a number that it does not know", () => {
    const push = (bytes: Buffer) => () => collecting().decoder.push(bytes);
    expect(push(ofOtherVersion(frameBytes({ kind: kinds.ping })))).toThrow("speaks version 2");
    expect(push(frameBytes({ kind: 99 as Kind }))).toThrow("unknown kind 99");
    expect(push(frameBytes({ kind: kinds.ping, sequence: 2 ** 60 }))).toThrow("above 2^53");
    expect(push(Buffer.from("GET / HTTP/1.1\r\nHost: a.b.c.d.e.f.g.h.i\r\n\r\n"))).toThrow("no frame of flotilla");
  });

  it("writes the rest of a diverted body elsewhere", () => {
    const memory = new Uint8Array(64);
    const frames: Frame[] = [];
    const decoder = new FrameDecoder({
      maxFrameBytes: MAX_FRAME,
      onFrame: (each) => frames.push({ ...each }),
      place: () => memory,
    });
    const bytes = frameBytes({ kind: kinds.reply, sequence: 5 }, new Uint8Array(64).fill(9));
    decoder.push(bytes.subarray(0, HEADER_BYTES + 10));
    decoder.divert(4);
    decoder.push(bytes.subarray(HEADER_BYTES + 10, HEADER_BYTES + 20));
    decoder.divert(5);
    decoder.push(bytes.subarray(HEADER_BYTES + 20));
    expect(memory).toEqual(new Uint8Array(64).fill(9, 0, 20));
    expect(frames.length).toBe(1);
  });
});
