// A partition's piece of a dense parameter: weights and optimizer state, moved as one long row.
import type { Heap } from "../memory/index.ts";
import { batchKernel } from "./kernels.ts";
import { BoundRule } from "./rules.ts";
import { type PsMode, ruleOf, type ServedDense } from "./spec.ts";

export class DensePart {
  readonly served: ServedDense;
  readonly start: number;
  readonly length: number;
  /** f32 [length]: the weights. */
  readonly weights: number;
  readonly bytes: number;
  readonly #heap: Heap;
  readonly #mode: PsMode;
  readonly #slots: readonly { readonly name: string; readonly pointer: number; readonly length: number }[];
  readonly #rule: BoundRule | undefined;
  readonly #handle: number;

  constructor(heap: Heap, served: ServedDense, piece: { start: number; length: number }, mode: PsMode) {
    const { start, length } = piece;
    this.#heap = heap;
    this.#mode = mode;
    this.served = served;
    this.start = start;
    this.length = length;
    const rule = served.rule === "value" || mode === "geo" ? undefined : ruleOf(served.rule);
    let end = pad(4 * length);
    const slots = (rule?.slots ?? []).map(({ name, perRow, initial }) => {
      const slot = { name, offset: end, length: perRow === true ? 1 : length, initial };
      end += pad(4 * slot.length);
      return slot;
    });
    this.bytes = end;
    this.weights = heap.alloc(end);
    this.#slots = slots.map(({ name, offset, length }) => ({ name, pointer: this.weights + offset, length }));
    this.#handle = heap.alloc(4);
    heap.u32(this.#handle, 1)[0] = this.weights / 16;
    const slotOffsets = slots.map(({ offset }) => offset);
    this.#rule = rule && new BoundRule(heap, served.rule as never, { dim: length, offset: 0, slotOffsets });
    this.resetState();
  }

  /** Optimizer state as before the first step. */
  resetState(): void {
    const { rule } = this.served;
    if (rule === "value") return;
    for (const [i, { pointer, length }] of this.#slots.entries()) {
      this.#heap.f32(pointer, length).fill(ruleOf(rule).slots[i]!.initial);
    }
  }

  /** The weights, or a slot by its place in the rule; undefined when there is no such slot. */
  column(slot: number | undefined): Float32Array | undefined {
    if (slot === undefined) return this.#heap.f32(this.weights, this.length);
    const found = this.#slots[slot];
    return found && this.#heap.f32(found.pointer, found.length);
  }

  /** Names of weights and slots, as in checkpoints. */
  get columnNames(): string[] {
    return [this.served.name, ...this.#slots.map(({ name }) => `${this.served.name}/${name}`)];
  }

  /** Applies f32 [length]: a gradient, a difference (mode `geo`), or values that take the weights' place. */
  push(values: number, step: number): void {
    if (this.served.rule === "value") {
      this.#heap.f32(this.weights, this.length).set(this.#heap.f32(values, this.length));
    } else if (this.#mode === "geo") batchKernel(this.#heap).add(this.weights, values, this.length);
    else this.#rule!.apply(this.#handle, values, 1, this.length, step);
  }

  dispose(): void {
    this.#rule?.dispose();
    this.#heap.free(this.#handle);
    this.#heap.free(this.weights);
  }
}

const pad = (bytes: number): number => Math.ceil(bytes / 64) * 64;
