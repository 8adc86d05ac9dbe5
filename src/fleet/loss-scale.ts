// The dynamic loss scale of fp16 (arXiv 1710.03740; defaults of PaddlePaddle): losses are multiplied by it so that small
// gradients do not vanish, updates divide by it, and a step whose gradients are not finite is skipped and lowers it.
import type { Heap } from "../memory/index.ts";
import type { LossScaleOptions, LossScaleState } from "./loss-scale-options.ts";

/** What a thread needs to know, as plain data. */
export interface LossScaleHandle {
  readonly options: LossScaleOptions;
  /** Of its own `LOSS_SCALE_NUMBERS` float64 numbers in the heap: scale, finite, failed. */
  readonly address: number;
}

export const LOSS_SCALE_NUMBERS = 3;
const [SCALE, FINITE, FAILED] = [0, 1, 2];

/** A scale below this would not help any more. */
const FLOOR = 1;

export class LossScale {
  readonly #options: LossScaleOptions;
  readonly #cell: Float64Array;

  /** @param cell what it stands at, which it goes on to change */
  constructor(cell: Float64Array, options: LossScaleOptions) {
    this.#options = options;
    this.#cell = cell;
  }

  /** What the next step's loss is to be multiplied by. */
  get scale(): number {
    return this.#cell[SCALE]!;
  }

  get state(): LossScaleState {
    const [scale, finite, failed] = this.#cell as unknown as [number, number, number];
    return { scale, finite, failed };
  }

  set state({ scale, finite, failed }: LossScaleState) {
    this.#cell.set([scale, finite, failed]);
  }

  /** Learns whether the gradients of a step were finite. */
  step(finite: boolean): void {
    const { growth, growthSteps, backoff, backoffSteps } = this.#options;
    const cell = this.#cell;
    if (finite) {
      cell[FAILED] = 0;
      if (++cell[FINITE]! < growthSteps) return;
      cell[FINITE] = 0;
      const grown = this.scale * growth;
      if (Number.isFinite(Math.fround(grown))) cell[SCALE] = grown;
    } else {
      cell[FINITE] = 0;
      if (++cell[FAILED]! < backoffSteps) return;
      cell[FAILED] = 0;
      cell[SCALE] = Math.max(FLOOR, this.scale * backoff);
    }
  }
}

const attach = (heap: Heap, { address, options }: LossScaleHandle): LossScale =>
  new LossScale(heap.f64(address, LOSS_SCALE_NUMBERS), options);

const startOf = ({ start: scale }: LossScaleOptions): LossScaleState => ({ scale, finite: 0, failed: 0 });

/** A scale for each thread: those of mode `sync` see the same gradients, so theirs stay equal. */
export function createLossScales(heap: Heap, threads: number, options: LossScaleOptions): LossScaleHandle[] {
  const handles = Array.from({ length: threads }, () => ({ options, address: heap.alloc(8 * LOSS_SCALE_NUMBERS) }));
  restoreLossScales(heap, handles, []);
  return handles;
}

export function freeLossScales(heap: Heap, handles: readonly LossScaleHandle[]): void {
  for (const { address } of handles) heap.free(address);
}

export const lossScaleStates = (heap: Heap, handles: readonly LossScaleHandle[]): LossScaleState[] =>
  handles.map((handle) => attach(heap, handle).state);

/** Of another number of threads, those that are more go on from the first one's; without any, all start. */
export function restoreLossScales(
  heap: Heap,
  handles: readonly LossScaleHandle[],
  states: readonly LossScaleState[],
): void {
  for (const [thread, handle] of handles.entries()) {
    attach(heap, handle).state = states[thread] ?? states[0] ?? startOf(handle.options);
  }
}
