import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AppliedCalls, type Outcome } from "./applied.ts";

const reply = (...bytes: number[]): Outcome => ({ ok: true, body: Uint8Array.from(bytes) });

describe("applied calls", () => {
  it("are found until they are settled, and then told from new ones", () => {
    const applied = new AppliedCalls();
    expect([applied.highest(1n), applied.find(1n, 1)]).toEqual([0, undefined]);
    applied.record(1n, 1, reply(7));
    applied.record(1n, 3, { ok: false, code: "bad row", message: "no" });
    expect(applied.find(1n, 1)).toEqual(reply(7));
    expect(applied.find(1n, 2)).toBeUndefined();
    expect(applied.find(2n, 1)).toBeUndefined();
    expect(applied.highest(1n)).toBe(3);
    applied.settle(1n, 3);
    expect(applied.find(1n, 1)).toMatchObject({ ok: false, code: "forgotten" });
    expect(applied.find(1n, 2)).toMatchObject({ ok: false, code: "forgotten" });
    expect(applied.find(1n, 3)).toMatchObject({ ok: false, code: "bad row" });
    expect(applied.find(1n, 4)).toBeUndefined();
  });

  it("keep bounded numbers of replies, bytes and clients", () => {
    const few = new AppliedCalls({ replies: 2, replyBytes: 10, clients: 2 });
    for (const sequence of [1, 2, 3]) few.record(1n, sequence, reply(sequence));
    expect(few.find(1n, 1)).toMatchObject({ code: "forgotten" });
    expect(few.find(1n, 2)).toEqual(reply(2));
    few.record(1n, 4, { ok: true, body: new Uint8Array(9) });
    few.record(1n, 5, reply(5, 5));
    expect(few.find(1n, 4)).toMatchObject({ code: "forgotten" });
    few.record(2n, 1, reply(1));
    few.record(3n, 1, reply(1));
    expect([few.highest(1n), few.highest(2n), few.highest(3n)]).toEqual([0, 1, 1]);
  });

  it("answer alike after export and import", () => {
    const event = fc.record({
      client: fc.bigInt(0n, 3n),
      sequence: fc.integer({ min: 1, max: 40 }),
      settle: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const applied = new AppliedCalls({ replies: 8 });
        for (const { client, sequence, settle } of events) {
          if (settle) applied.settle(client, sequence);
          else applied.record(client, sequence, reply(sequence));
        }
        const again = new AppliedCalls({ replies: 8 });
        again.import(structuredClone(applied.export()));
        for (const { client, sequence } of events) {
          expect(again.find(client, sequence)).toEqual(applied.find(client, sequence));
        }
      }),
    );
  });
});
