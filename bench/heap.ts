// What 64-bit addresses cost: the same kernels on a heap of up to 4 GiB and on one above it, slice by slice in turn.
import { wasmKernels, wasmProvider } from "../src/engine/providers/wasm/provider.ts";
import * as e from "../src/kernels/expr.ts";
import { bindKernels, compileKernels, type Kernel } from "../src/kernels/index.ts";
import { type AddressType, Heap } from "../src/memory/index.ts";
import { Table } from "../src/table/index.ts";
import { atLeast, type BenchOptions, type BenchResult } from "./lib/report.ts";

const STREAM = 2 ** 20;
const CACHED = 4096;
const [M, N, K] = [512, 400, 400];
const TILE_K = 256;
const TILE_TURNS = 100;
const TABLE_ROWS = 500_000;
const BATCH = 13_312;
const DIM = 16;
const SLICES = 40;

const map = (expr: e.Expr, length: number, inputs: number): Kernel => ({
  type: "map",
  exprs: [expr],
  shape: [length],
  inputs: Array.from({ length: inputs }, () => ({ shape: [length] })),
});
const sum = e.add(e.input(0), e.input(1));
const kernels: readonly Kernel[] = [map(sum, STREAM, 2), map(sum, CACHED, 2), map(e.sigmoid(e.input(0)), CACHED, 1)];

interface Work {
  readonly name: string;
  readonly unit: string;
  /** In billions of `unit` a second, or millions where it says so. */
  readonly amount: number;
  /** The least ratio of the two speeds. */
  readonly goal: number;
}

const works: readonly Work[] = [
  { name: "a + b of 12 MB", unit: "GB/s", amount: (12 * STREAM) / 1e9, goal: 0.85 },
  { name: "a + b of 48 kB", unit: "GB/s", amount: (12 * CACHED) / 1e9, goal: 0.6 },
  { name: "sigmoid of 16 kB", unit: "GB/s", amount: (8 * CACHED) / 1e9, goal: 0.9 },
  { name: `matmul ${M}×${N}×${K}, wasm`, unit: "GFLOP/s", amount: (2 * M * N * K) / 1e9, goal: 0.6 },
  { name: "register tile of matmul", unit: "GFLOP/s", amount: 0, goal: 0.6 },
  { name: "look-up of known ids", unit: "M/s", amount: BATCH / 1e6, goal: 0.85 },
  { name: `gather of dim ${DIM}`, unit: "M/s", amount: BATCH / 1e6, goal: 0.85 },
];

/** What each of `works` does in one call on a heap, and how many operations a call of the register tile makes. */
function callsOn(heap: Heap): { calls: (() => void)[]; tileFlops: number } {
  const [a, b, c] = [0, 1, 2].map(() => heap.alloc(4 * STREAM)) as [number, number, number];
  for (const pointer of [a, b]) {
    const data = heap.f32(pointer, STREAM);
    for (let i = 0; i < STREAM; i++) data[i] = Math.sin(i + pointer);
  }
  const [stream, cached, sigmoid] = bindKernels(compileKernels(kernels, heap.addressType), heap.memory);
  const { gemm } = wasmKernels(heap);
  const provider = wasmProvider(heap);
  const shape = { m: M, n: N, k: K, transposeA: false, transposeB: false };
  const scratchBytes = provider.scratchBytes(shape);
  const matmul = provider.matmul({ ...shape, a, b, c, scratch: heap.alloc(scratchBytes), scratchBytes });
  const tileFlops = gemm.microKernelLoop(TILE_TURNS, TILE_K, a, b, c);

  const fields = [{ name: "x", dim: DIM, slots: [], init: { kind: "uniform", scale: 0.1 } }] as const;
  const table = Table.create(heap, { name: "ids", seed: 1, fields, capacity: TABLE_ROWS });
  const keys = heap.alloc(8 * TABLE_ROWS);
  const rows = heap.alloc(4 * TABLE_ROWS);
  const gathered = heap.alloc(4 * DIM * BATCH);
  const ids = heap.u64(keys, TABLE_ROWS);
  for (let i = 0; i < TABLE_ROWS; i++) ids[i] = (BigInt(i + 1) * 0x9e3779b97f4a7c15n) & 0xffffffffffffffffn;
  table.lookup(keys, TABLE_ROWS, rows, true);
  const batches = Math.floor(TABLE_ROWS / BATCH);
  let batch = 0;
  const next = (): number => {
    batch = (batch + 1) % batches;
    return batch * BATCH;
  };
  return {
    tileFlops,
    calls: [
      () => stream!(a, b, c),
      () => cached!(a, b, c),
      () => sigmoid!(a, c),
      matmul,
      () => gemm.microKernelLoop(TILE_TURNS, TILE_K, a, b, c),
      () => table.lookup(keys + 8 * next(), BATCH, rows, false),
      () => table.gather("x", rows + 4 * next(), BATCH, gathered),
    ],
  };
}

/** Heaps of both kinds; the memory below the large one's addresses is never touched. */
function heaps(): Readonly<Record<AddressType, Heap>> {
  const large = Heap.create({ maxBytes: 5 * 2 ** 30 });
  large.alloc(2 ** 32);
  return { i32: Heap.create({ maxBytes: 2 ** 29 }), i64: large };
}

/** Speeds with addresses of 32 and of 64 bits. Goals are ratios within this run. */
export async function run(options: BenchOptions & { readonly seconds?: number } = {}): Promise<BenchResult> {
  const milliseconds = (1000 * (options.seconds ?? 0.6)) / SLICES;
  const { i32, i64 } = heaps();
  const sides = [callsOn(i32), callsOn(i64)];
  const best = sides.map(() => works.map(() => 0));
  for (let slice = 0; slice < SLICES; slice++) {
    for (const i of works.keys()) {
      for (const [side, { calls }] of sides.entries()) {
        const rate = callsPerSecond(calls[i]!, milliseconds);
        best[side]![i] = Math.max(best[side]![i]!, rate);
      }
    }
  }
  const amountOf = ({ amount }: Work): number => amount || sides[0]!.tileFlops / 1e9;
  return {
    rows: works.flatMap((work, i) =>
      ["32 bits", "64 bits"].map((system, side) => ({
        system,
        metric: work.name,
        value: best[side]![i]! * amountOf(work),
        unit: work.unit,
      })),
    ),
    goals: works.map((work, i) => atLeast(`${work.name}, 64 / 32 bits`, best[1]![i]! / best[0]![i]!, work.goal)),
  };
}

function callsPerSecond(call: () => void, milliseconds: number): number {
  const start = performance.now();
  let calls = 0;
  let elapsed = 0;
  while (elapsed < milliseconds) {
    call();
    calls++;
    elapsed = performance.now() - start;
  }
  return (1000 * calls) / elapsed;
}
