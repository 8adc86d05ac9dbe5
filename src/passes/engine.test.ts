// Optimized programs on the engine, against the float64 interpreter of the programs as they were traced.
import fc from "fast-check";
import { expect, test } from "vitest";
import { wasmProvider } from "../engine/providers/index.ts";
import { scratchBytes } from "../engine/scratch.ts";
import { Bench, relativeError, testHeap } from "../engine/testing.ts";
import { plan } from "../program/planner.ts";
import { interpret } from "../program/reference.ts";
import { ReferenceTable } from "../program/reference-table.ts";
import { randomFeed, randomFrom } from "../program/testing.ts";
import { Table } from "../table/index.ts";
import { optimize } from "./optimize.ts";
import { randomProgram, spec, tableRule } from "./testing.ts";

const heap = testHeap();
const provider = wasmProvider(heap);
const rules = { table: { v: tableRule } };

test("random training steps give the interpreter's outputs, parameters and rows", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e9 }), (seed) => {
      const traced = randomProgram(seed);
      const planned = plan(optimize(traced), { scratch: (op) => scratchBytes(op, provider) });
      const table = Table.create(heap, spec);
      const twin = new ReferenceTable(spec, { rules: rules.table });
      const bench = new Bench(planned, { heap, provider, rules, tables: { table }, layouts: { table: table.layout } });
      const { inputs, parameters } = randomFeed(traced, randomFrom(seed), { low: 0.1, high: 0.9, classes: 1000 });
      for (const [name, operand] of Object.entries(planned.parameters)) bench.write(operand, [...parameters[name]!]);
      for (const [name, operand] of Object.entries(planned.inputs)) {
        bench.write(operand, Array.from<number | bigint, number>(inputs[name]!, Number));
      }
      for (let step = 0; step < 2; step++) {
        bench.executable.run();
        const { outputs } = interpret(traced, inputs, { parameters, tables: { table: twin } });
        for (const [name, operand] of Object.entries(planned.outputs)) {
          const expected = Array.from(outputs[name]!, Number);
          expect(relativeError(bench.read(operand), expected), `${name} of step ${step}`).toBeLessThan(1e-3);
        }
      }
      for (const [name, operand] of Object.entries(planned.parameters)) {
        expect(relativeError(bench.read(operand), [...parameters[name]!]), name).toBeLessThan(1e-3);
      }
      bench.executable.dispose();
      table.dispose();
      heap.free(bench.arena);
      heap.free(bench.shared);
    }),
    { numRuns: 30 },
  );
});
