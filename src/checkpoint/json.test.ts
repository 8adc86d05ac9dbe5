// State that JSON would change without a word is refused by its place.
import { expect, test } from "vitest";
import { assertJson } from "./json.ts";

const cyclic: Record<string, unknown> = {};
cyclic.self = [cyclic];

test.each([
  [{ lr: Number.NaN }, /^state\.lr is NaN/],
  [{ a: [{ b: 1n }] }, /^state\.a\[0\]\.b is a bigint.*pass it as a string/],
  [{ when: new Date(0) }, /^state\.when is a Date/],
  [{ rows: new Float32Array(1) }, /^state\.rows is a Float32Array/],
  [{ log: () => {} }, /^state\.log is a function/],
  [[undefined], /^state\[0\] is undefined/],
  [cyclic, /^state\.self\[0\] contains itself/],
])("%o is refused", (state, message) => {
  expect(() => assertJson(state, "state")).toThrow(message);
});

test("what JSON holds passes, also one object twice and options left out", () => {
  const shared = { a: [1, "x", true, null] };
  expect(() => assertJson({ shared, again: shared, absent: undefined }, "state")).not.toThrow();
});
