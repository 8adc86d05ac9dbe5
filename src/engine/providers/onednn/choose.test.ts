// Which way is taken: the rule's, a clearly faster one, the one that another thread chose, and no clock where none may decide.
import { describe, expect, test } from "vitest";
import { Heap } from "../../../memory/index.ts";
import { type Candidate, Chooser, type Method, type Sample } from "./choose.ts";

const heap = Heap.create({ maxBytes: 2 ** 20 });

interface Address {
  readonly x: number;
}

/** A way that keeps the processor busy for so long, and notes that it ran. */
function way(method: Method, milliseconds: number, log: Method[] = []): Candidate<Address> {
  return {
    method,
    create: () => ({
      scratchBytes: 64,
      bind: () => () => {
        log.push(method);
        const end = performance.now() + milliseconds;
        while (performance.now() < end);
      },
    }),
  };
}

const absent = (method: Method): Candidate<Address> => ({ method, create: () => undefined });
const sampleOf =
  (...candidates: Candidate<Address>[]) =>
  (): Sample<Address> => ({ candidates, sizes: [16, 64], place: ([x]) => ({ x: x! }) });

/** Chooses among ways of which each is its own sample. */
function choose(chooser: Chooser, ...candidates: Candidate<Address>[]): Method {
  chooser.choose("key", candidates, sampleOf(...candidates));
  return chooser.choices().key!;
}

describe("the way taken", () => {
  test("a clearly faster one, else the first", () => {
    expect(choose(new Chooser(heap), way("sgemm", 3), way("matmul", 0.01))).toBe("matmul");
    expect(choose(new Chooser(heap), way("sgemm", 0.01), way("matmul", 3))).toBe("sgemm");
  });

  test("never one that is ruled out", () => {
    const chooser = new Chooser(heap, { without: "matmul", choices: { key: "matmul" } });
    expect(choose(chooser, way("sgemm", 3), way("matmul", 0.01))).toBe("sgemm");
  });

  test("what the library lacks is passed over, in the end for WASM", () => {
    expect(choose(new Chooser(heap), absent("sgemm"), way("matmul", 0), way("wasm", 0))).toBe("matmul");
    expect(choose(new Chooser(heap), absent("sgemm"), absent("matmul"), way("wasm", 0))).toBe("wasm");
  });

  test("nothing is timed where there is one way, where another thread chose, or where the rule decides alone", () => {
    const log: Method[] = [];
    const ways = [way("sgemm", 1, log), way("matmul", 0, log)];
    expect(choose(new Chooser(heap), ways[0]!, way("wasm", 0, log))).toBe("sgemm");
    expect(choose(new Chooser(heap, { choices: { key: "matmul" } }), ...ways)).toBe("matmul");
    expect(choose(new Chooser(heap, { byRule: true }), ...ways)).toBe("sgemm");
    expect(log).toEqual([]);
  });

  test("timing leaves the heap as it was, and an implementation is made once", () => {
    const chooser = new Chooser(heap);
    let made = 0;
    const counted: Candidate<Address> = {
      method: "direct",
      create() {
        made++;
        return way("direct", 0).create();
      },
    };
    const before = heap.liveBytes;
    const first = chooser.choose("other", [counted, way("wasm", 0)], sampleOf());
    expect(chooser.choose("other", [counted, way("wasm", 0)], sampleOf())).toBe(first);
    expect(made).toBe(1);
    choose(chooser, way("sgemm", 0.01), way("matmul", 0.01));
    expect(heap.liveBytes).toBe(before);
  });
});
