// For tests: the window update in float64, one number after the other, and small texts with a known structure.
import type { Heap } from "../memory/index.ts";
import { randomFrom } from "../program/testing-random.ts";
import { strideOf, trainKernel } from "./matrices.ts";

/** Outputs that the kernel takes at a time. */
export const GROUP = 6;

export interface WindowStep {
  readonly dim: number;
  /** Input vectors of the context words. */
  readonly contexts: readonly (readonly number[])[];
  /** How often each context stands in the window. */
  readonly counts: readonly number[];
  /** Output vectors, that of the centre first; at most six. */
  readonly outputs: readonly (readonly number[])[];
  /** Learning rate × how often each output was drawn. */
  readonly weights: readonly number[];
  /** Of the first output. */
  readonly label: number;
}

export interface Updated {
  readonly contexts: readonly (readonly number[])[];
  readonly outputs: readonly (readonly number[])[];
}

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** −Σ count · weight · log σ(± context · output): what a step descends. */
export function windowLoss({ contexts, counts, outputs, weights, label }: WindowStep): number {
  let loss = 0;
  for (const [c, x] of contexts.entries()) {
    for (const [j, o] of outputs.entries()) {
      const positive = j === 0 && label === 1;
      loss -= counts[c]! * weights[j]! * Math.log(sigmoid((positive ? 1 : -1) * dot(x, o)));
    }
  }
  return loss;
}

/** The step of skip-gram: all gradients at the vectors as they were. */
export function skipGramReference(step: WindowStep): Updated {
  const { contexts, counts, outputs, weights, label } = step;
  const g = contexts.map((x, c) =>
    outputs.map((o, j) => counts[c]! * weights[j]! * ((j === 0 ? label : 0) - sigmoid(dot(x, o)))),
  );
  return {
    contexts: contexts.map((x, c) => x.map((v, k) => v + outputs.reduce((sum, o, j) => sum + g[c]![j]! * o[k]!, 0))),
    outputs: outputs.map((o, j) => o.map((v, k) => v + contexts.reduce((sum, x, c) => sum + g[c]![j]! * x[k]!, 0))),
  };
}

/** Runs the kernel's step on copies of the vectors. */
export function skipGramByKernel(heap: Heap, step: WindowStep): Updated {
  const { dim, weights, label } = step;
  const stride = strideOf(dim);
  const rowBytes = 4 * stride;
  const blocks: number[] = [];
  const alloc = (bytes: number): number => {
    blocks.push(heap.alloc(bytes));
    return blocks.at(-1)!;
  };
  const rows = (vectors: readonly (readonly number[])[]): number[] =>
    vectors.map((vector) => {
      const at = alloc(rowBytes);
      heap.f32(at, dim).set(vector);
      return at;
    });
  const zeroRow = alloc(rowBytes);
  const [inputs, outs] = [rows(step.contexts), rows(step.outputs)];
  const even = [...inputs, ...(inputs.length % 2 === 1 ? [zeroRow] : [])];
  const padded = [...outs, ...new Array<number>(GROUP - outs.length).fill(zeroRow)];
  const [contexts, outputs] = [alloc(8 * even.length), alloc(8 * GROUP)];
  heap.addresses(contexts, even.length).set(even);
  if (heap.addressType === "i64") heap.u64(contexts, even.length).set(even.map(BigInt));
  heap.addresses(outputs, GROUP).set(padded);
  if (heap.addressType === "i64") heap.u64(outputs, GROUP).set(padded.map(BigInt));
  const weightsAt = alloc(4 * GROUP);
  heap.f32(weightsAt, weights.length).set(weights);
  const gradients = alloc(32 * even.length + 192);
  const counts = alloc(4 * even.length);
  heap.f32(counts, step.counts.length).set(step.counts);
  trainKernel(heap).skipGramStep(contexts, counts, even.length, outputs, weightsAt, label, rowBytes, gradients);
  const read = (addresses: readonly number[]): number[][] => addresses.map((at) => [...heap.f32(at, stride)]);
  const result = { contexts: read(inputs), outputs: read(outs) };
  const untouched = heap.f32(zeroRow, stride).every((value) => value === 0);
  for (const block of blocks) heap.free(block);
  if (!untouched) throw new Error("the row of zeros has changed");
  return result;
}

/** The step of CBOW by the kernel: what the mean is to move by, and the outputs. */
export function cbowByKernel(heap: Heap, step: WindowStep): { error: number[]; outputs: number[][] } {
  const { dim, weights, label } = step;
  const stride = strideOf(dim);
  const base = heap.alloc(4 * stride * (GROUP + 3) + 512);
  const row = (i: number): number => base + 512 + 4 * stride * i;
  heap.f32(row(GROUP), dim).set(step.contexts[0]!);
  for (const [j, o] of step.outputs.entries()) heap.f32(row(j), dim).set(o);
  const places = Array.from({ length: GROUP }, (_, j) => row(j));
  if (heap.addressType === "i64") heap.u64(base, GROUP).set(places.map(BigInt));
  else heap.u32(base, GROUP).set(places);
  heap.f32(base + 256, weights.length).set(weights);
  trainKernel(heap).cbowStep(row(GROUP), row(GROUP + 1), base, base + 256, label, 4 * stride);
  const result = {
    error: [...heap.f32(row(GROUP + 1), dim)],
    outputs: step.outputs.map((_, j) => [...heap.f32(row(j), dim)]),
  };
  heap.free(base);
  return result;
}

/** Sentences each of which is about one of a few topics; words of a topic are t0w0, t0w1, … */
export function topicText(options: { topics: number; words: number; sentences: number; seed?: number }): string {
  const random = randomFrom(options.seed ?? 1);
  const pick = (n: number): number => Math.floor(random() * n);
  return Array.from({ length: options.sentences }, () => {
    const topic = pick(options.topics);
    return Array.from({ length: 12 }, () => `t${topic}w${pick(options.words)}`).join(" ");
  }).join("\n");
}
