// The memory that training takes: counted by kind before it is taken, and refused with what would help.
import { describe, expect, it } from "vitest";
import type { Operand } from "../engine/index.ts";
import { expectRoom, formatMemory, type MemoryReport, memoryNote, memoryReport } from "./memory-report.ts";

const MB = 1e6;
const shared = (count: number): Operand => ({ space: "shared", offset: 0, shape: [count], dtype: "f32" });
const parameter = (group: string) => ({ value: 0, init: { kind: "zeros" as const }, trainable: true, group });

describe("memoryReport", () => {
  it("parts the shared block into parameters and optimizer state, and adds up the threads", () => {
    const scratch = (bytes: number) => ({
      kind: "matmul",
      inputs: [],
      outputs: [],
      attrs: {},
      scratch: shared(bytes / 4),
    });
    const arena = { arenaBytes: 7000, instructions: [scratch(400), scratch(2000), scratch(0)] };
    const beside = { "w/average": parameter("average"), "w/merged#0": parameter("merged") };
    const parameters = {
      w: shared(100),
      "w/sum": shared(100),
      mean: shared(10),
      "w/average": shared(25),
      "w/merged#0": shared(25),
    };
    const report = memoryReport({
      parameters: { w: parameter("default"), "w/sum": parameter("optimizer"), mean: parameter("default"), ...beside },
      shared: { parameters, sharedBytes: 1160 },
      arenas: [arena, arena],
    });
    expect(report).toEqual({ parameters: 560, optimizerState: 600, activations: 14_000, scratch: 4000, total: 15_160 });
  });
});

const report = (activations: number): MemoryReport => ({
  parameters: 400 * MB,
  optimizerState: 800 * MB,
  activations,
  scratch: 0,
  total: 1200 * MB + activations,
});

describe("formatMemory and memoryNote", () => {
  it("tell the kinds and what recompute would leave", () => {
    expect(formatMemory(report(1900 * MB))).toBe(
      "3.1 GB: parameters 400 MB, optimizer state 800 MB, activations 1.9 GB",
    );
    expect(memoryNote(report(1900 * MB), () => report(300 * MB))).toBe(
      "needs 3.1 GB: parameters 400 MB, optimizer state 800 MB, activations 1.9 GB; with recompute 1.5 GB",
    );
    expect(memoryNote(report(0), () => report(0))).not.toContain("recompute");
    expect(memoryNote({ ...report(0), total: 100 * MB })).toBeUndefined();
  });
});

describe("expectRoom", () => {
  const room = { free: 2000 * MB, capacity: 4000 * MB };
  const options = { model: "model bert", batch: 32, halfPrecision: false, recomputed: () => report(300 * MB) };

  it("lets pass what fits", () => {
    expect(() => expectRoom(report(800 * MB), room, options)).not.toThrow();
  });

  it("refuses what does not, with the figure and every switch that helps", () => {
    expect(() => expectRoom(report(1900 * MB), room, options)).toThrow(
      'model bert does not fit: with batches of 32 rows it needs 3.1 GB: parameters 400 MB, optimizer state 800 MB, activations 1.9 GB; 2.0 GB of the heap\'s 4.0 GB are free. What helps: strategy recompute: { segments: "auto" } (needs 1.5 GB); amp: "bf16" (about half of the activations); batches of at most 13 rows; gradientMerge to add up the gradients of several such batches; fleet.init({ maxBytes }) with 1.1 GB more',
    );
  });

  it("does not name switches that are on, or that would not do", () => {
    const refused = (): void =>
      expectRoom(report(1900 * MB), { ...room, free: 900 * MB }, { model: "m", batch: 32, halfPrecision: true });
    expect(refused).toThrow(/What helps: fleet\.init\(\{ maxBytes \}\) with 2\.2 GB more$/);
  });
});
