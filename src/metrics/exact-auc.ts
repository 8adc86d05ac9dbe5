// The exact AUC of scores that lie in the heap, and of JavaScript arrays: radix sort, ties half, weights.
import { Heap, instantiate, MAX_HEAP_BYTES } from "../memory/index.ts";

/** Samples in the heap, f32 [n] each; `weights` 0 means all 1. Pointers are byte offsets. */
export interface ScoreSegment {
  readonly scores: number;
  readonly labels: number;
  readonly weights: number;
  readonly n: number;
}

interface ExactAucKernel {
  inspectWeights(state: number, weights: number, n: number): void;
  partitionKeys(...args: PartitionArguments): void;
  partitionWeighted(...args: PartitionArguments): void;
  sortKeys(items: number, scratch: number, n: number, counts: number): boolean;
  sortWeighted(items: number, scratch: number, n: number, counts: number): boolean;
  areaKeys(positives: number, positiveCount: number, negatives: number, negativeCount: number): number;
  areaWeighted(positives: number, positiveCount: number, negatives: number, negativeCount: number): number;
}
type PartitionArguments = [
  state: number,
  scores: number,
  labels: number,
  weights: number,
  n: number,
  items: number,
  capacity: number,
];

const STATE_BYTES = 64;
const COUNTS_BYTES = 3 * 2048 * 4;

/**
 * AUC of all segments together: the probability that a positive scores above a negative, ties half. Rows of weight 0 do
 * not count. NaN without both classes. Takes 8 bytes of heap a sample while it runs (16 when weights differ).
 * @throws when a score is NaN or a label is neither 0 nor 1.
 */
export function segmentsAuc(heap: Heap, segments: Iterable<ScoreSegment>): number {
  const kernel = instantiate<ExactAucKernel>("exact-auc", heap);
  const list = [...segments];
  const capacity = list.reduce((sum, segment) => sum + segment.n, 0);
  const state = heap.alloc(STATE_BYTES + COUNTS_BYTES);
  const counts = state + STATE_BYTES;
  let items = 0;
  let scratch = 0;
  try {
    for (const { weights, n } of list) if (weights !== 0) kernel.inspectWeights(state, weights, n);
    const words = heap.u32(state, 6);
    // A segment without weights has weight 1, which differs from a constant weight elsewhere.
    const mixed = list.some((s) => s.weights === 0) && list.some((s) => s.weights !== 0);
    const weighted = words[5] !== 0 || mixed;
    const partition = weighted ? kernel.partitionWeighted : kernel.partitionKeys;
    const sort = weighted ? kernel.sortWeighted : kernel.sortKeys;
    const area = weighted ? kernel.areaWeighted : kernel.areaKeys;
    const itemBytes = weighted ? 8 : 4;
    items = heap.alloc(capacity * itemBytes);
    scratch = heap.alloc(capacity * itemBytes);
    for (const { scores, labels, weights, n } of list) {
      partition(state, scores, labels, weights, n, items, capacity);
    }
    const [positives, negatives, nans, badLabels] = words as unknown as [number, number, number, number];
    if (nans > 0) {
      throw new RangeError(
        `AUC: ${nans} of ${positives + negatives} scores are NaN; the model has diverged (lower the learning rate)`,
      );
    }
    if (badLabels > 0) {
      throw new RangeError(
        `AUC: ${badLabels} of ${positives + negatives} labels are neither 0 nor 1; AUC needs binary labels`,
      );
    }
    if (positives === 0 || negatives === 0) return Number.NaN;
    const negativeItems = items + (capacity - negatives) * itemBytes;
    const negativeScratch = scratch + positives * itemBytes;
    const sortedPositives = sort(items, scratch, positives, counts) ? scratch : items;
    const sortedNegatives = sort(negativeItems, negativeScratch, negatives, counts) ? negativeScratch : negativeItems;
    return area(sortedPositives, positives, sortedNegatives, negatives);
  } finally {
    heap.free(state);
    if (items !== 0) heap.free(items);
    if (scratch !== 0) heap.free(scratch);
  }
}

/** Scores and labels of samples in JavaScript arrays. */
export interface ScoredSamples {
  /** Any numbers that rise with the probability of label 1: logits or probabilities. */
  readonly scores: Float32Array;
  /** 0 or 1. */
  readonly labels: Float32Array;
  /** Default: all 1. */
  readonly weights?: Float32Array;
}

/**
 * The exact AUC of arrays.
 * @throws when lengths differ, a score is NaN or a label is neither 0 nor 1.
 * @example auc({ scores: Float32Array.of(0.1, 0.4, 0.35, 0.8), labels: Float32Array.of(0, 0, 1, 1) }) // 0.75
 */
export function auc(samples: ScoredSamples): number {
  return withSamplesInHeap(samples, 16, (heap, segment) => segmentsAuc(heap, [segment]));
}

const SHARED_BYTES = 64 << 20;
let sharedHeap: Heap | undefined;

/**
 * Copies arrays into a heap with `extraBytes` a sample to spare and runs `use` on them. Small ones share one heap, since
 * every heap takes address space until the garbage collector finds it.
 */
export function withSamplesInHeap<T>(
  samples: ScoredSamples,
  extraBytes: number,
  use: (heap: Heap, segment: ScoreSegment) => T,
): T {
  const { scores, labels, weights } = samples;
  const n = scores.length;
  if (labels.length !== n) throw new RangeError(`${n} scores but ${labels.length} labels: give one label a score`);
  if (weights !== undefined && weights.length !== n) {
    throw new RangeError(`${n} scores but ${weights.length} weights: give one weight a score, or none`);
  }
  const bytes = n * (12 + extraBytes) + (1 << 20);
  if (bytes <= SHARED_BYTES) sharedHeap ??= Heap.create({ maxBytes: SHARED_BYTES });
  const heap = bytes <= SHARED_BYTES ? sharedHeap! : Heap.create({ maxBytes: Math.min(MAX_HEAP_BYTES, bytes) });
  const block = heap.alloc(12 * n);
  const copy = (array: Float32Array, place: number): number => {
    heap.f32(block + 4 * n * place, n).set(array);
    return block + 4 * n * place;
  };
  try {
    return use(heap, {
      scores: copy(scores, 0),
      labels: copy(labels, 1),
      weights: weights === undefined ? 0 : copy(weights, 2),
      n,
    });
  } finally {
    heap.free(block);
  }
}
