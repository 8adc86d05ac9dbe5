// Bodies come back as they were; what is no body is refused by the name of a field, and never crashes a partition.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RpcError } from "../net/index.ts";
import { joinParts } from "./body.ts";
import { decodePull, decodePush, encodePull, encodePush, type Push, pullReplyOffsets } from "./messages.ts";
import { methods, type PsMethod } from "./requests.ts";
import {
  decodeChanges,
  decodeChangesReply,
  decodeRows,
  encodeChanges,
  encodeChangesReply,
  encodeRows,
} from "./row-messages.ts";
import { testModel, testPartition } from "./testing-partition.ts";

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const wire = fc.constantFrom("f32", "f16", "bf16");

const sparse = fc
  .record({
    table: u32,
    fields: fc.uniqueArray(fc.integer({ min: 0, max: 63 }), { minLength: 1 }).map((list) => list.sort((a, b) => a - b)),
    width: fc.integer({ min: 1, max: 9 }),
    wire,
    keys: fc.array(u64, { maxLength: 7 }).map((keys) => BigUint64Array.from(keys)),
    counts: fc.integer({ min: 0, max: 3 }),
  })
  .map(({ counts, ...target }) => {
    const n = target.keys.length;
    const values = target.wire === "f32" ? new Float32Array(n * target.width) : new Uint16Array(n * target.width);
    values.forEach((_, i) => {
      values[i] = i + 1;
    });
    return {
      ...target,
      values,
      ...(counts & 1 && { shows: Float32Array.from({ length: n }, (_, i) => i) }),
      ...(counts & 2 && { clicks: Float32Array.from({ length: n }, (_, i) => -i) }),
    };
  });
const dense = fc.record({ dense: u32, wire, length: fc.integer({ min: 0, max: 9 }) }).map(({ length, ...rest }) => ({
  ...rest,
  length,
  values: rest.wire === "f32" ? new Float32Array(length).fill(2) : new Uint16Array(length).fill(3),
}));
const push: fc.Arbitrary<Push> = fc.record({
  definition: u32,
  worker: u32,
  step: fc.maxSafeNat(),
  samples: fc.double({ min: 0, max: 1e9, noNaN: true }),
  batches: u32,
  sections: fc.array(fc.oneof(sparse, dense), { maxLength: 4 }),
}) as never;

const bytesAt = (body: Uint8Array, at: number, like: ArrayBufferView): number[] => [
  ...body.subarray(at, at + like.byteLength),
];
const bytesOf = (view: ArrayBufferView): number[] => [...new Uint8Array(view.buffer, view.byteOffset, view.byteLength)];

describe("encode, then decode", () => {
  test("push, and a pull behind it", () => {
    fc.assert(
      fc.property(push, (sent) => {
        const pull = { definition: 1, worker: 2, readOnly: true, sections: sent.sections } as never;
        const body = joinParts([...encodePush(sent), ...encodePull(pull)]);
        const { sections, bytes, ...header } = decodePush(body);
        const { sections: _, ...expected } = sent;
        expect(header).toEqual(expected);
        for (const [i, section] of sections.entries()) {
          const own = sent.sections[i]!;
          expect(bytesAt(body, section.values, own.values)).toEqual(bytesOf(own.values));
          if (section.kind === "dense" || "dense" in own) {
            expect(section).toMatchObject({ dense: (own as { dense: number }).dense, wire: own.wire });
            continue;
          }
          const { table, fields, width, wire, keys, shows, clicks } = own;
          expect(section).toMatchObject({ table, fields, width, wire, rows: keys.length });
          expect(bytesAt(body, section.keys, keys)).toEqual(bytesOf(keys));
          expect(section.shows >= 0).toBe(shows !== undefined);
          if (shows !== undefined) expect(bytesAt(body, section.shows, shows)).toEqual(bytesOf(shows));
          if (clicks !== undefined) expect(bytesAt(body, section.clicks, clicks)).toEqual(bytesOf(clicks));
        }
        const pulled = decodePull(body.subarray(bytes));
        expect(pulled).toMatchObject({ definition: 1, worker: 2, readOnly: true });
        expect(pulled.sections).toHaveLength(sections.length);
        const { offsets, bytes: size } = pullReplyOffsets(sent.sections as never);
        for (const offset of [...offsets, size]) expect(offset % 8).toBe(0);
      }),
    );
  });

  test("changes and rows", () => {
    const position = { epoch: 2n ** 63n, since: 5n, scan: 7n };
    const request = {
      definition: 1,
      worker: 2,
      table: 3,
      fields: [0, 63],
      wire: "bf16",
      maxRows: 9,
      position,
    } as const;
    expect(decodeChanges(joinParts(encodeChanges(request)))).toEqual(request);
    const keys = BigUint64Array.of(1n, 2n, 3n);
    const reply = { position, more: true, width: 2, keys, values: new Uint8Array(12).fill(4) };
    expect(decodeChangesReply(joinParts(encodeChangesReply(reply)))).toEqual(reply);
    const columns = [1, 3].map((width) => ({ width, values: new Float32Array(3 * width).fill(width) }));
    expect(decodeRows(joinParts(encodeRows({ table: 4, keys, columns })))).toEqual({ table: 4, keys, columns });
  });
});

describe("what is no body", () => {
  test("is refused by the name of what is wrong", () => {
    const body = joinParts(
      encodePush({
        ...{ definition: 0, worker: 0, step: 0, samples: 1, batches: 1 },
        sections: [
          { table: 0, fields: [0], width: 2, wire: "f32", keys: BigUint64Array.of(1n), values: new Float32Array(2) },
        ],
      }),
    );
    const changed = (at: number, byte: number): Uint8Array => {
      const copy = body.slice();
      copy[at] = byte;
      return copy;
    };
    expect(() => decodePush(body.subarray(0, 10))).toThrow('push: it ends at byte 10, in the middle of "step"');
    expect(() => decodePush(body.subarray(0, 70))).toThrow(
      '"sections[0].keys" has 1 elements of 8 bytes, but only 6 bytes are left',
    );
    expect(() => decodePush(changed(51, 255))).toThrow('"sections[0].keys" has 4278190081 elements');
    expect(() => decodePush(changed(40, 9))).toThrow('"sections[0].kind" is 9');
    expect(() => decodePush(changed(41, 9))).toThrow('"sections[0].wire" is 9');
    expect(() => decodePush(changed(15, 255))).toThrow('"step" is');
    expect(() => decodePush(changed(23, 255))).toThrow('"samples" is -');
    expect(() => decodePush(changed(30, 255))).toThrow('"sections" is 16711681');
    expect(() => decodePull(new Uint8Array(24))).toThrow("pull: 8 bytes are left behind its end");
    const wide = joinParts(encodeRows({ table: 0, keys: new BigUint64Array(0), columns: [] }));
    wide[8] = 200;
    wide[9] = 200;
    expect(() => decodeRows(wide)).toThrow('rows: "columns" is 51400');
  });

  test("never crashes a partition, nor makes it forget or change what it has", async () => {
    const { partition, client } = await testPartition(testModel({ dims: [2, 1], dense: [{ name: "w", length: 20 }] }));
    await client.push(new Map([[1n, [1, 2, 3]]]));
    const before = await client.pull([1n, 2n]);
    const seeds = [
      joinParts(client.pushParts(new Map([[2n, [1, 2, 3]]]))),
      joinParts(
        encodePull({
          definition: client.definition,
          worker: 0,
          readOnly: true,
          sections: [{ ...client.target(), wire: "f32", keys: BigUint64Array.of(1n) }],
        }),
      ),
      joinParts(encodeRows({ table: 0, keys: BigUint64Array.of(9n), columns: [] })),
      new TextEncoder().encode('{"table":0,"key":"1"}'),
      new TextEncoder().encode('{"scan":1,"first":0,"rows":10}'),
    ];
    const edit = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) });
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc
        .record({ seed: fc.constantFrom(...seeds), edits: fc.array(edit, { maxLength: 3 }), cut: fc.nat() })
        .map(({ seed, edits, cut }) => {
          const copy = seed.slice(0, cut % 3 === 0 ? cut % seed.length : seed.length);
          for (const { at, byte } of edits) if (copy.length > 0) copy[at % copy.length] = byte;
          return copy;
        }),
    );
    const names = (Object.keys(methods) as PsMethod[]).filter(
      (method) => !["save", "load", "shrink", "setSteps", "workers"].includes(method),
    );
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), body, async (method, body) => {
        try {
          await partition.call(method, body, { client: 1n, sequence: 1 });
        } catch (error) {
          expect(error).toBeInstanceOf(RpcError);
          refused++;
        }
      }),
      { numRuns: 3000 },
    );
    expect(refused).toBeGreaterThan(1000);
    const row = [...before.flat()];
    // Bodies that are pushes after all may have moved rows, but pulls go on and give numbers.
    expect((await client.pull([1n, 2n])).flat()).toHaveLength(row.length);
    expect((await client.pull([1n, 2n])).flat().every(Number.isFinite)).toBe(true);
  });
});
