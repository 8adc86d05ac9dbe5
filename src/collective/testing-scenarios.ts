// For tests: what a rank does in the contract of transports. Inputs follow from rank and element alone, so that each rank
// knows what the result must be.
import { createHash } from "node:crypto";
import { roundTo } from "../kernels/half.ts";
import type { Heap } from "../memory/index.ts";
import type { CallOptions } from "./call.ts";
import type { Communicator } from "./communicator.ts";
import { partOf } from "./schedule.ts";

export interface CaseResult {
  readonly what: string;
  /** Of the bits that every rank must have alike. */
  readonly hash: string;
  /** Largest difference from what was expected, relative to the largest number. */
  readonly error: number;
}

export interface ScenarioContext {
  readonly communicator: Communicator;
  readonly heap: Heap;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/** In (-1, 1], different for every rank and element, no short binary fraction. */
const valueAt = (rank: number, i: number): number => valuesOf(rank)[i]!;
const MOST = 64_000;
const tables: Float32Array[] = [];
function valuesOf(rank: number): Float32Array {
  tables[rank] ??= Float32Array.from({ length: MOST }, (_, i) => Math.sin(rank * 7919 + i * 1.37 + 0.1));
  return tables[rank];
}

/** What an all-reduce must give, in float64. */
function reduced(call: CallOptions, size: number, i: number): number {
  const wire = call.wire ?? "f32";
  let [sum, max] = [0, Number.NEGATIVE_INFINITY];
  for (let rank = 0; rank < size; rank++) {
    const value = valueAt(rank, i);
    sum += value;
    max = Math.max(max, value);
  }
  if (call.op === "max") return roundTo(wire, max);
  return call.op === "mean" ? sum / size : sum;
}

function runCase(call: CallOptions, { communicator, heap }: ScenarioContext): CaseResult {
  const { rank, size } = communicator;
  const count = call.count ?? 0;
  const own = [heap.alloc(4 * count + 64), heap.alloc(4 * count + 64)] as const;
  const output = own[1];
  // In a shared buffer, and in every third case outside of it.
  const inside = communicator.buffer !== undefined && count % 3 !== 0;
  const address = inside ? communicator.buffer!.address + 64 : own[0];
  const data = heap.f32(address, count + 1);
  data[count] = 123;
  for (let i = 0; i < count; i++) data[i] = valueAt(rank, i);
  communicator.call({ ...call, address, ...(call.collective === "all-to-all" ? { output } : {}) });
  if (data[count] !== 123) throw new Error("wrote beyond the buffer");
  const result = call.collective === "all-to-all" ? heap.f32(output, count) : data.subarray(0, count);
  const root = call.root ?? 0;
  const block = count / size;
  const owner = (i: number): number =>
    Array.from({ length: size }, (_, r) => partOf({ start: 0, count }, size, r)).findIndex(
      ({ start, count: own }) => i >= start && i < start + own,
    );
  const expected = (i: number): number => {
    switch (call.collective) {
      case "broadcast":
        return valueAt(root, i);
      case "all-gather":
        return valueAt(owner(i), i);
      case "all-to-all":
        return valueAt(Math.floor(i / block), rank * block + (i % block));
      default:
        return reduced(call, size, i);
    }
  };
  const part = partOf({ start: 0, count }, size, rank);
  const range = call.collective === "reduce-scatter" ? part : { start: 0, count };
  let error = 0;
  for (let i = range.start; i < range.start + range.count; i++) {
    const difference = Math.abs(result[i]! - expected(i));
    error = Math.max(error, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
  }
  const alike = call.collective === "all-reduce" || call.collective === "broadcast" || call.collective === "all-gather";
  const hash = alike
    ? createHash("sha1")
        .update(Uint8Array.from(new Uint8Array(heap.memory.buffer, address, 4 * count)))
        .digest("hex")
    : "";
  for (const block of own) heap.free(block);
  return { what: JSON.stringify(call), hash, error };
}

export const scenarios: Readonly<Record<string, (context: ScenarioContext) => unknown>> = {
  /** Runs `calls` one after the other on the same communicator. */
  calls: (context) => (context.parameters.calls as CallOptions[]).map((call) => runCase(call, context)),

  /** Bytes of other types come through as they are. */
  moves({ communicator, heap }) {
    const address = heap.alloc(1000);
    const bytes = heap.u8(address, 999);
    for (let i = 0; i < 999; i++) bytes[i] = (i * 7 + communicator.rank) % 251;
    communicator.call({ collective: "broadcast", address, count: 999, dtype: "u8", root: communicator.size - 1 });
    return bytes.every((byte, i) => byte === (i * 7 + communicator.size - 1) % 251);
  },

  /** One prepared call many times, a barrier after each. */
  repeats({ communicator, heap, parameters }) {
    const count = parameters.count as number;
    const address = heap.alloc(4 * count);
    const data = heap.f32(address, count);
    const call = communicator.prepare({ collective: "all-reduce", address, count, op: "mean" });
    data.fill(communicator.rank);
    for (let i = 0; i < (parameters.times as number); i++) {
      communicator.run(call);
      communicator.call({ collective: "barrier" });
    }
    return data.every((x) => x === (communicator.size - 1) / 2);
  },

  /** The last rank makes another call than the others. */
  mismatch({ communicator, heap, parameters }) {
    const address = heap.alloc(4096);
    communicator.call({ collective: "all-reduce", address, count: 10, name: "first" });
    const odd = communicator.rank === communicator.size - 1;
    communicator.call({
      collective: "all-reduce",
      address,
      count: 1000,
      name: "weights",
      ...(odd ? (parameters.odd as object) : {}),
    });
  },

  /** Rank `who` ends without a word in the middle of the calls. */
  death({ communicator, heap, parameters }) {
    const address = heap.alloc(4 * 100_000);
    for (let i = 0; i < 1000; i++) {
      if (i === 5 && communicator.rank === parameters.who) process.exit(7);
      communicator.call({ collective: "all-reduce", address, count: 100_000, name: `layer ${i}` });
    }
  },

  /** Rank `who` fails in its own code and says so by closing. */
  leaves({ communicator, heap, parameters }) {
    const address = heap.alloc(400);
    communicator.call({ collective: "all-reduce", address, count: 100 });
    if (communicator.rank === parameters.who) return "left";
    communicator.call({ collective: "all-reduce", address, count: 100, name: "lonely" });
    return "stayed";
  },

  /** Rank `who` lives but does not come. */
  stall({ communicator, heap, parameters }) {
    const address = heap.alloc(400);
    communicator.call({ collective: "all-reduce", address, count: 100 });
    if (communicator.rank === parameters.who) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, parameters.sleepMs as number);
    }
    communicator.call({ collective: "all-reduce", address, count: 100, name: "embedding" });
  },
};

/** Every collective and algorithm on lengths that the ranks do not divide. */
export function allCalls(size: number): CallOptions[] {
  const counts = [0, 1, size, 1000, 20_011];
  const divisor = size % 2 === 0 ? 2 : size;
  const ways = ["auto", "ring", "halving-doubling", "direct"].map((algorithm) => ({ algorithm }));
  const grids = ["hierarchical", "torus"].map((algorithm) => ({ algorithm, groupSize: divisor }));
  const reduces = [...ways, ...grids].flatMap((way) =>
    [
      ...counts.map((count) => ({ count })),
      { count: 1003, op: "mean" as const },
      { count: 1003, op: "max" as const },
      { count: 20_011, wire: "bf16" as const },
      { count: 20_011, wire: "f16" as const, op: "mean" as const },
      { count: 1003, wire: "bf16" as const, op: "max" as const },
    ].map((rest) => ({ collective: "all-reduce" as const, ...way, ...rest })),
  );
  const parts = ["ring", "direct"].flatMap((algorithm) =>
    [...counts.map((count) => ({ count })), { count: 999, wire: "bf16" as const }].flatMap((rest) => [
      { collective: "reduce-scatter" as const, algorithm, ...rest },
      { collective: "all-gather" as const, algorithm, ...rest },
    ]),
  );
  const broadcasts = ["chain", "tree"].flatMap((algorithm) =>
    [1, 1000, 50_001].map((count) => ({ collective: "broadcast" as const, algorithm, count, root: size - 1 })),
  );
  return [
    ...reduces,
    ...parts,
    ...broadcasts,
    { collective: "broadcast", count: 500, wire: "f16" },
    { collective: "all-to-all", count: 30 * size },
    { collective: "all-to-all", count: 8000 * size },
    { collective: "all-to-all", count: 30 * size, wire: "bf16" },
    { collective: "barrier" },
  ];
}
