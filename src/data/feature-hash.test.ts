import { describe, expect, it } from "vitest";
import { crossId, featureId } from "./feature-hash.ts";

describe("featureId", () => {
  it("keeps its values: checkpoints depend on them", () => {
    expect(featureId(0, "68fd1e64")).toMatchInlineSnapshot(`3654485229329396217n`);
    expect(featureId(25, "")).toMatchInlineSnapshot(`15239618565842864740n`);
    expect(featureId(3, "a text of more than sixteen bytes")).toMatchInlineSnapshot(`1517823688034321545n`);
    expect(featureId(0, 1.5)).toMatchInlineSnapshot(`7879841144867249938n`);
    expect(featureId(0, "68fd1e64", 1000)).toMatchInlineSnapshot(`199n`);
    expect(crossId(7, ["LAX", "JFK"])).toMatchInlineSnapshot(`9824787561923988904n`);
  });

  it("tells columns, lengths and values apart", () => {
    const ids = new Set<bigint>();
    for (let column = 0; column < 8; column++) {
      for (const value of ["", "0", "00", "\0", "\0\0", "a", "b", "12345678", "123456789", "12345678\0"]) {
        ids.add(featureId(column, value));
      }
    }
    expect(ids.size).toBe(80);
  });

  it("hashes integers as their decimal text, missing numbers as the empty text", () => {
    expect(featureId(4, 42)).toBe(featureId(4, "42"));
    expect(featureId(4, -7)).toBe(featureId(4, "-7"));
    expect(featureId(4, -0)).toBe(featureId(4, "0"));
    expect(featureId(4, Number.NaN)).toBe(featureId(4, ""));
    expect(featureId(4, 0.5)).not.toBe(featureId(4, "0.5"));
  });

  it("folds evenly into buckets from 1 on", () => {
    const counts = new Array<number>(11).fill(0);
    for (let i = 0; i < 10_000; i++) counts[Number(featureId(0, String(i), 10))]!++;
    expect(counts[0]).toBe(0);
    for (const count of counts.slice(1)) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });
});

describe("crossId", () => {
  it("depends on the order and on where one value ends", () => {
    expect(crossId(0, ["a", "b"])).not.toBe(crossId(0, ["b", "a"]));
    expect(crossId(0, ["ab", "c"])).not.toBe(crossId(0, ["a", "bc"]));
    expect(() => crossId(0, [])).toThrow("at least one value");
  });
});
