// Update rules of a partition, with the numbers that change from step to step.
import {
  bindKernels,
  compileKernels,
  type KernelFunction,
  type RowUpdateKernel,
  type UpdateRule,
} from "../kernels/index.ts";
import type { Heap } from "../memory/index.ts";
import { type Optimizer, scalarAt } from "../optim/index.ts";
import { type FieldRule, ruleOf } from "./spec.ts";

/** Kernels are compiled for each width of gradients that occurs; beyond so many the cache begins anew. */
const MAX_KERNELS = 64;

/** Where a rule's operands lie. */
export interface RuleLayout {
  readonly dim: number;
  /** Byte offsets in the row. */
  readonly offset: number;
  readonly slotOffsets: readonly number[];
}

/** The rule of a field or of a piece of a dense parameter. */
export class BoundRule {
  readonly rule: UpdateRule;
  readonly #heap: Heap;
  readonly #optimizer: Optimizer;
  readonly #layout: RuleLayout;
  readonly #scalars: number;
  readonly #pointers: readonly number[];
  readonly #kernels = new Map<number, KernelFunction>();
  #step = -1;

  /** @throws Error when the rule makes no sense */
  constructor(heap: Heap, fieldRule: FieldRule, layout: RuleLayout) {
    this.rule = ruleOf(fieldRule);
    this.#heap = heap;
    this.#optimizer = fieldRule.optimizer;
    this.#layout = layout;
    const { scalars } = this.rule;
    this.#scalars = heap.alloc(4 * Math.max(1, scalars.length));
    this.#pointers = scalars.map((_, i) => this.#scalars + 4 * i);
    this.#kernel(layout.dim);
    this.#setStep(0);
  }

  /** Moves `n` rows by gradients f32 whose rows lie `stride` elements apart. @param step optimizer steps done before */
  apply(rows: number, gradients: number, n: number, stride: number, step: number): void {
    this.#setStep(step);
    this.#kernel(stride)(rows, gradients, n, ...this.#pointers);
  }

  dispose(): void {
    this.#heap.free(this.#scalars);
  }

  #setStep(step: number): void {
    if (step === this.#step) return;
    this.#step = step;
    const { scalars } = this.rule;
    const values = this.#heap.f32(this.#scalars, scalars.length);
    for (const [i, scalar] of scalars.entries()) values[i] = scalarAt(this.#optimizer, scalar, step);
  }

  #kernel(stride: number): KernelFunction {
    let kernel = this.#kernels.get(stride);
    if (kernel === undefined) {
      const { dim, offset, slotOffsets } = this.#layout;
      const layout = { dim, weightOffset: offset, slotOffsets, gradientStride: stride };
      const spec: RowUpdateKernel = { type: "rowUpdate", rule: this.rule, ...layout };
      [kernel] = bindKernels(compileKernels([spec], this.#heap.addressType), this.#heap.memory);
      if (this.#kernels.size >= MAX_KERNELS) this.#kernels.clear();
      this.#kernels.set(stride, kernel!);
    }
    return kernel!;
  }
}
