// One thread of a speed measurement, on a heap of its own.
import { parentPort, workerData } from "node:worker_threads";
import { Barrier, Heap } from "../../memory/index.ts";
import { type MatmulCase, shapeOf } from "../providers/contract.ts";
import { attachProvider } from "../providers/index.ts";
import { wasmKernels } from "../providers/wasm/provider.ts";
import type { Speed, SpeedCase, SpeedThreadData } from "./speed.ts";

const HEAP_BYTES = 2 ** 28;
const WINDOW_MILLISECONDS = 4;
const TILE_K = 400;
const TILE_CALLS = 500;
/** Panels of TILE_K rows of at most 8 numbers, and a tile of C. */
const TILE_PANEL_BYTES = 32 * TILE_K;
const TILE_BYTES = 1024;

/** A call and its floating-point operations. */
interface Work {
  readonly call: () => void;
  readonly flops: number;
}

function measure({ provider: description, cases, milliseconds }: SpeedThreadData, meeting: Barrier): Speed[] {
  const heap = Heap.create({ maxBytes: HEAP_BYTES });
  const provider = attachProvider(heap, description);
  const bindCase = (test: SpeedCase): Work => (test === "micro-kernel" ? bindTile() : bindMatmul(test));

  const bindTile = (): Work => {
    const { microKernelLoop } = wasmKernels(heap).gemm;
    const a = heap.alloc(2 * TILE_PANEL_BYTES + TILE_BYTES);
    const [b, c] = [a + TILE_PANEL_BYTES, a + 2 * TILE_PANEL_BYTES];
    const flops = microKernelLoop(TILE_CALLS, TILE_K, a, b, c);
    return { call: () => microKernelLoop(TILE_CALLS, TILE_K, a, b, c), flops };
  };
  const bindMatmul = (test: MatmulCase): Work => {
    const shape = shapeOf(test);
    const { m, n, k } = shape;
    const scratchBytes = provider.scratchBytes(shape);
    const block = (count: number): number => {
      const pointer = heap.alloc(count * 4);
      heap.f32(pointer, count).fill(0.5);
      return pointer;
    };
    const spec = {
      ...{ ...shape, a: block(m * k), b: block(k * n), c: block(m * n) },
      ...(shape.bias === undefined ? {} : { bias: block(n) }),
      ...{ scratch: heap.alloc(scratchBytes), scratchBytes },
    };
    return { call: provider.matmul(spec), flops: 2 * m * n * k };
  };

  return cases.map((test) => {
    const work = bindCase(test);
    work.call();
    if (!meeting.wait()) throw new Error("another thread of the measurement failed");
    return time(work, milliseconds);
  });
}

function time({ call, flops }: Work, milliseconds: number): Speed {
  const start = performance.now();
  let [now, calls] = [start, 0];
  const rates: number[] = [];
  while (now - start < milliseconds) {
    const from = now;
    let inWindow = 0;
    do {
      call();
      inWindow++;
      now = performance.now();
    } while (now - from < WINDOW_MILLISECONDS);
    calls += inWindow;
    rates.push((inWindow * flops) / (now - from) / 1e6);
  }
  rates.sort((x, y) => x - y);
  return { mean: (calls * flops) / (now - start) / 1e6, best: rates[Math.floor(rates.length * 0.9)]! };
}

const data = workerData as SpeedThreadData;
const meeting = new Barrier(new Int32Array(data.barrier), data.threads);
try {
  parentPort!.postMessage(measure(data, meeting));
} catch (error) {
  meeting.stop();
  throw error;
}
