// Stores the tensors that map and rows kernels compute. All outputs of a vector are computed before the first is stored, so
// that an output may replace an input; elements of 16 bits are stored eight at a time where two whole vectors follow.
import type { NodeId } from "./graph.ts";
import type { FloatType } from "./half.ts";
import type { LaneEmitter } from "./lanes.ts";
import { elementBytes } from "./spec.ts";
import { type FunctionBuilder, simd, valueType } from "./wasm.ts";

export interface Output {
  readonly pointer: number;
  readonly type: FloatType;
  /** As `Lowering.lowerTo` gives it. */
  readonly root: NodeId;
}

/** With the locals of two vectors. */
interface Placed extends Output {
  readonly locals: readonly [number, number];
}

export class Outputs {
  readonly #fn: FunctionBuilder;
  readonly #lanes: LaneEmitter;
  readonly #outputs: readonly Placed[];
  readonly #hasHalves: boolean;

  constructor(fn: FunctionBuilder, lanes: LaneEmitter, outputs: readonly Output[]) {
    this.#fn = fn;
    this.#lanes = lanes;
    const local = (): number => fn.local(valueType.v128);
    this.#outputs = outputs.map((output) => ({ ...output, locals: [local(), local()] }));
    this.#hasHalves = outputs.some(({ type }) => type !== "f32");
  }

  /** Emits the vectors of a turn at some offsets; of a single one perhaps fewer than four lanes. */
  store(offsets: readonly number[], lanes: number): void {
    for (let i = 0; i < offsets.length; i++) {
      const offset = offsets[i]!;
      this.#compute(offset, lanes, 0);
      if (this.#hasHalves && i + 1 < offsets.length) {
        i++;
        this.#compute(offset + 4, lanes, 1);
        for (const output of this.#outputs) this.#storePair(output, offset);
        continue;
      }
      for (const { pointer, type, locals } of this.#outputs) {
        const bytes = elementBytes[type] as 4 | 2;
        this.#fn.store(pointer, bytes * offset, lanes, locals[0], bytes);
      }
    }
  }

  #compute(offset: number, lanes: number, place: 0 | 1): void {
    const fn = this.#fn;
    this.#lanes.vector(offset, lanes);
    for (const { type, root, locals } of this.#outputs) {
      this.#lanes.push(root);
      if (type === "bf16") {
        fn.i32(16);
        fn.simd(simd.shrU);
      }
      fn.set(locals[place]);
    }
  }

  #storePair({ pointer, type, locals }: Placed, offset: number): void {
    if (type !== "f32") {
      this.#fn.storeEight(pointer, 2 * offset, ...locals);
      return;
    }
    for (const [place, local] of locals.entries()) this.#fn.store(pointer, 4 * (offset + 4 * place), 4, local, 4);
  }
}
