import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { columnsOf, layoutOf, type TableField, type TableSpec, validateSpec } from "./spec.ts";

const field: TableField = { name: "a", dim: 4, slots: [], init: { kind: "zeros", scale: 0 } };
const spec: TableSpec = { name: "t", seed: 1, fields: [field] };

describe("validateSpec", () => {
  test.each<[string, Partial<TableSpec>, string]>([
    ["seed", { seed: -1 }, 'table "t": seed must be an integer of at least 0, got -1'],
    ["capacity", { capacity: 0.5 }, 'table "t": capacity must be a count of rows, got 0.5'],
    ["no fields", { fields: [] }, 'table "t": it needs at least one field'],
    ["field name", { fields: [{ ...field, name: "a.b" }] }, 'must consist of letters, digits, _ and -, got "a.b"'],
    ["same names", { fields: [field, field] }, 'two fields are named "a"'],
    ["dim", { fields: [{ ...field, dim: 0 }] }, 'dim of field "a" must be an integer from 1 to 65536, got 0'],
    ["init", { fields: [{ ...field, init: { kind: "ones" as "zeros", scale: 1 } }] }, 'or "zeros", got "ones"'],
    ["scale", { fields: [{ ...field, init: { kind: "normal", scale: Number.NaN } }] }, 'scale of field "a" must be'],
    [
      "slots",
      {
        fields: [
          {
            ...field,
            slots: [
              { name: "m", initial: 0 },
              { name: "m", initial: 0 },
            ],
          },
        ],
      },
      'field "a" has two slots of the same name: m, m',
    ],
    [
      "initial",
      { fields: [{ ...field, slots: [{ name: "m", initial: Number.NaN }] }] },
      'initial of slot "m" of field',
    ],
  ])("refuses a wrong %s", (_, change, message) => {
    expect(() => validateSpec({ ...spec, ...change })).toThrow(message);
  });

  test("accepts a good one", () => {
    expect(() => validateSpec({ ...spec, capacity: 10 })).not.toThrow();
  });
});

describe("layoutOf", () => {
  const anyFields = fc.array(
    fc.record({ dim: fc.integer({ min: 1, max: 40 }), slots: fc.array(fc.boolean(), { maxLength: 3 }) }),
    { minLength: 1, maxLength: 5 },
  );

  test("places all columns apart, aligned, and within the row", () => {
    fc.assert(
      fc.property(anyFields, (raw) => {
        const fields = raw.map(({ dim, slots }, i): TableField => {
          const specs = slots.map((perRow, s) => ({ name: `s${s}`, initial: 0, perRow }));
          return { ...field, name: `f${i}`, dim, slots: specs };
        });
        const layout = layoutOf({ ...spec, fields });
        const columns = columnsOf({ ...spec, fields }, layout).sort((a, b) => a.offset - b.offset);
        let end = 0;
        for (const { offset, width } of columns) {
          expect(offset).toBeGreaterThanOrEqual(end);
          expect(offset % (width >= 4 ? 16 : 4)).toBe(0);
          end = offset + 4 * width;
        }
        expect(layout.strideBytes).toBeGreaterThanOrEqual(end);
        expect(layout.strideBytes % 16).toBe(0);
        expect(columns).toHaveLength(fields.length + raw.flatMap(({ slots }) => slots).length);
      }),
    );
  });

  test("a 16-wide embedding with a full accumulator fills two cache lines, its wide part adds 16 bytes", () => {
    const deep = { ...field, name: "deep", dim: 16, slots: [{ name: "sum", initial: 0 }] };
    const wide = { ...field, name: "wide", dim: 1, slots: [{ name: "sum", initial: 0 }] };
    expect(layoutOf({ ...spec, fields: [deep] }).strideBytes).toBe(128);
    expect(layoutOf({ ...spec, fields: [wide, deep] })).toEqual({
      strideBytes: 144,
      fields: {
        wide: { offset: 64, dim: 1, slotOffsets: [68] },
        deep: { offset: 0, dim: 16, slotOffsets: [80] },
      },
    });
  });
});
