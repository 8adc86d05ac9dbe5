// Gradients on their way to the servers: those of one or more batches, added up by id and sorted by partition. They stay as
// they are until the servers have answered.
import { type Heap, instantiate } from "../../memory/index.ts";
import { type Converter, converterOf } from "../halves.ts";
import { type DensePush, type SparsePush, type WireType, wireBytes } from "../messages.ts";
import type { DensePiece } from "../placement.ts";
import { type SplitKernel, splitKernel } from "../split.ts";
import { Blocks } from "./blocks.ts";
import { MAP_ENTRY_BYTES, mapMask, type WorkerKernel, workerKernel } from "./kernel.ts";
import { type GradientGroup, type GradientLayout, numbersOf } from "./plan.ts";

interface SumKernel {
  accumulate(numbers: number, n: number, gradient: number, dim: number, sums: number, first: number): void;
}

/** Gradients of one batch, in a slot. */
export interface GradientSlot {
  readonly address: number;
  /** What its rows weigh. */
  readonly samples: number;
}

interface GroupBuffers {
  readonly group: GradientGroup;
  readonly ids: number;
  readonly sums: number;
  readonly sorted: number;
  readonly values: number;
  readonly halves: number;
  /** Of a group whose shows are counted: gradients with counts in the order of partitions, and f32 shows and clicks. */
  readonly counted: number;
  readonly shows: number;
  readonly clicks: number;
  readonly order: number;
  readonly starts: number;
}

export interface OutgoingOptions {
  readonly heap: Heap;
  readonly layout: GradientLayout;
  readonly partitions: number;
  readonly pieces: readonly DensePiece[];
  readonly wire: WireType;
  /** The most batches that are added up. */
  readonly batches: number;
}

export class Outgoing {
  samples = 0;
  batches = 0;
  /** Bytes of values and ids that the batches would have taken one by one. */
  unmergedBytes = 0;
  rows = 0;
  readonly #options: OutgoingOptions;
  readonly #heap: Heap;
  readonly #kernel: WorkerKernel;
  readonly #split: SplitKernel;
  readonly #sum: SumKernel;
  readonly #convert: Converter;
  readonly #blocks: Blocks;
  readonly #groups: readonly GroupBuffers[];
  readonly #dense: number;
  readonly #denseHalves: number;
  readonly #map: number;
  readonly #numbers: number;

  constructor(options: OutgoingOptions) {
    const { heap, layout, partitions, batches, wire } = options;
    this.#options = options;
    this.#heap = heap;
    this.#kernel = workerKernel(heap);
    this.#split = splitKernel(heap);
    this.#sum = instantiate<SumKernel>("row-gradients", heap);
    this.#convert = converterOf(heap);
    this.#blocks = new Blocks(heap);
    const take = (bytes: number): number => this.#blocks.take(bytes);
    this.#groups = layout.groups.map((group) => {
      const most = group.most * batches;
      return {
        group,
        ids: take(8 * most),
        sums: take(4 * most * numbersOf(group)),
        sorted: take(8 * most),
        values: take(4 * most * group.width),
        halves: wire === "f32" ? 0 : take(2 * most * group.width),
        counted: group.counted === undefined ? 0 : take(4 * most * numbersOf(group)),
        shows: group.counted === undefined ? 0 : take(4 * most),
        clicks: group.counted === undefined ? 0 : take(4 * most),
        order: take(4 * most),
        starts: take(4 * (partitions + 1)),
      };
    });
    const most = Math.max(1, ...layout.groups.map((group) => group.most));
    this.#map = take(MAP_ENTRY_BYTES * (mapMask(most * batches) + 1));
    this.#numbers = take(4 * most * batches);
    this.#dense = take(4 * layout.denseLength);
    this.#denseHalves = wire === "f32" ? 0 : take(2 * layout.denseLength);
  }

  free(): void {
    this.#blocks.free();
  }

  /** Adds up the gradients of some batches; their slots are not needed any more. */
  merge(slots: readonly GradientSlot[]): void {
    const { layout, wire } = this.#options;
    this.samples = slots.reduce((sum, { samples }) => sum + samples, 0);
    this.batches = slots.length;
    this.rows = 0;
    this.unmergedBytes = slots.length * layout.denseLength * wireBytes[wire];
    for (const [index, buffers] of this.#groups.entries()) this.#mergeGroup(buffers, index, slots);
    this.#mergeDense(slots);
  }

  /** Nothing to send. */
  clear(): void {
    [this.samples, this.batches, this.rows, this.unmergedBytes] = [0, 0, 0, 0];
  }

  /** What a partition gets. Views of this object's memory. */
  sections(partition: number): (SparsePush | DensePush)[] {
    const { layout, wire, pieces } = this.#options;
    if (this.batches === 0) return [];
    const sparse = this.#groups.flatMap(({ group, starts, sorted, values, halves, shows, clicks }): SparsePush[] => {
      const bounds = this.#heap.u32(starts, this.#options.partitions + 1);
      const first = bounds[partition]!;
      const n = bounds[partition + 1]! - first;
      if (n === 0) return [];
      const { table, fields, width } = group;
      const keys = this.#heap.u64(sorted + 8 * first, n);
      const counts = (at: number): Float32Array => this.#heap.f32(at + 4 * first, n);
      return [
        {
          ...{ table, fields, width, wire, keys, values: this.#view(wire, values, halves, first * width, n * width) },
          ...(group.counted === undefined ? {} : { shows: counts(shows), clicks: counts(clicks) }),
        },
      ];
    });
    const dense = pieces
      .filter((piece) => piece.partition === partition)
      .map(({ dense, start, length }): DensePush => {
        const { gradient, weights } = layout.dense[dense]!;
        if (gradient < 0) return { dense, wire: "f32", values: this.#heap.f32(weights + 4 * start, length) };
        const first = (gradient - layout.denseStart) / 4 + start;
        return { dense, wire, values: this.#view(wire, this.#dense, this.#denseHalves, first, length) };
      });
    return [...sparse, ...dense];
  }

  #view(wire: WireType, values: number, halves: number, first: number, n: number): ArrayBufferView {
    if (wire === "f32") return this.#heap.f32(values + 4 * first, n);
    return this.#heap.u8(halves + 2 * first, 2 * n);
  }

  #mergeGroup(buffers: GroupBuffers, index: number, slots: readonly GradientSlot[]): void {
    const { layout, wire, partitions } = this.#options;
    const { group, starts, order, sorted } = buffers;
    const { width } = group;
    const numbers = numbersOf(group);
    let [count, ids, values] = [0, buffers.ids, buffers.sums];
    const countOf = ({ address }: GradientSlot): number => this.#heap.u32(address + layout.counts, index + 1)[index]!;
    const all = slots.reduce((sum, slot) => sum + countOf(slot), 0);
    if (slots.length === 1) {
      [count, ids, values] = [all, slots[0]!.address + group.ids, slots[0]!.address + group.values];
    } else {
      const mask = mapMask(all);
      this.#kernel.clear(this.#map, MAP_ENTRY_BYTES * (mask + 1));
      for (const slot of slots) {
        const n = countOf(slot);
        const from = slot.address + group.ids;
        count = this.#kernel.numbers(from, n, this.#map, mask, ids, count, this.#numbers) >>> 0;
        this.#sum.accumulate(this.#numbers, n, slot.address + group.values, numbers, values, 1);
      }
    }
    // Scratch for the owners: the numbers are spent.
    this.#split.split(ids, count, partitions, this.#numbers, starts, order);
    this.#split.takeKeys(ids, order, count, sorted);
    if (group.counted === undefined) this.#split.takeRows(values, order, count, 4 * width, buffers.values);
    else {
      const { counted, shows, clicks } = buffers;
      const stride = 4 * numbers;
      this.#split.takeRows(values, order, count, stride, counted);
      this.#kernel.copyRows(counted, stride, count, 4 * width, buffers.values, 4 * width);
      this.#kernel.copyRows(counted + 4 * width, stride, count, 4, shows, 4);
      this.#kernel.copyRows(counted + 4 * width + 4, stride, count, 4, clicks, 4);
    }
    if (wire !== "f32") this.#convert.fromF32(wire, buffers.values, count * width, buffers.halves);
    this.rows += count;
    this.unmergedBytes += all * (8 + width * wireBytes[wire] + 4 * (numbers - width));
  }

  #mergeDense(slots: readonly GradientSlot[]): void {
    const { layout, wire } = this.#options;
    const { denseStart, denseLength } = layout;
    for (const [i, { address }] of slots.entries()) {
      if (i === 0)
        this.#heap.u8(this.#dense, 4 * denseLength).set(this.#heap.u8(address + denseStart, 4 * denseLength));
      else this.#kernel.addScaled(this.#dense, address + denseStart, denseLength, 1);
    }
    if (wire !== "f32") this.#convert.fromF32(wire, this.#dense, denseLength, this.#denseHalves);
  }
}
