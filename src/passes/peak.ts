// A fast estimate of the memory that a program needs: the largest sum of what is live at one op. The planner's own figure
// comes close; this one is for comparing many programs.
import type { Op, Program, ValueId } from "../program/ir.ts";
import { byteLength, isView } from "../program/liveness.ts";

export class PeakMeter {
  readonly #bytes: number[];

  /** Of programs over the values of this one, and copies of them. */
  constructor({ values }: Program) {
    this.#bytes = values.map(byteLength);
  }

  bytesOf(id: ValueId): number {
    return this.#bytes[id]!;
  }

  /**
   * Bytes at the peak, without inputs and parameters. Updates count as running as soon as their gradient is there, and a
   * map's result lies over an input that ends there.
   */
  peakOf(program: Program): number {
    const { values, ops, outputs } = program;
    for (let id = this.#bytes.length; id < values.length; id++) this.#bytes.push(byteLength(values[id]!));
    const memory = Int32Array.from(values, (_, id) => id);
    const start = new Int32Array(values.length).fill(-1);
    const end = new Int32Array(values.length);
    for (const [time, op] of ops.entries()) {
      if (isView(program, op)) {
        memory[op.outputs[0]!] = memory[op.inputs[0]!]!;
      } else {
        for (const id of op.outputs) start[id] = end[id] = time;
      }
      if (op.kind === "update" || op.kind === "scatter_update") continue;
      for (const id of op.inputs) end[memory[id]!] = time;
    }
    for (const id of Object.values(outputs)) end[memory[id]!] = ops.length;
    for (const [time, op] of ops.entries())
      if (op.kind === "map" || op.kind === "rows") this.#reuse(op, time, memory, start, end);
    return this.#most(ops.length, start, end);
  }

  #reuse(op: Op, time: number, memory: Int32Array, start: Int32Array, end: Int32Array): void {
    for (const output of op.outputs) {
      for (const input of op.inputs) {
        const root = memory[input]!;
        if (end[root] !== time || start[root]! < 0 || this.#bytes[root] !== this.#bytes[output]) continue;
        end[root] = time - 1;
        break;
      }
    }
  }

  #most(ops: number, start: Int32Array, end: Int32Array): number {
    const changes = new Float64Array(ops + 2);
    for (let id = 0; id < start.length; id++) {
      if (start[id]! < 0) continue;
      changes[start[id]!]! += this.#bytes[id]!;
      changes[end[id]! + 1]! -= this.#bytes[id]!;
    }
    let live = 0;
    let most = 0;
    for (const change of changes) {
      live += change;
      most = Math.max(most, live);
    }
    return most;
  }
}
