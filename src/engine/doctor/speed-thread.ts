// One thread of a speed measurement, on a heap of its own.
import { parentPort, workerData } from "node:worker_threads";
import { Barrier, Heap } from "../../memory/index.ts";
import { bytesOf } from "../plan.ts";
import type { ConvShape } from "../provider.ts";
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
  const blocks: number[] = [];
  const alloc = (bytes: number): number => {
    const pointer = heap.alloc(bytes);
    blocks.push(pointer);
    return pointer;
  };
  const operand = (count: number): number => {
    const pointer = alloc(count * bytesOf.f32);
    heap.f32(pointer, count).fill(0.5);
    return pointer;
  };
  const bindCase = (test: SpeedCase): Work => {
    if (test === "micro-kernel") return bindTile();
    return "direction" in test ? bindConv(test) : bindMatmul(test);
  };

  const bindTile = (): Work => {
    const { microKernelLoop } = wasmKernels(heap).gemm;
    const a = alloc(2 * TILE_PANEL_BYTES + TILE_BYTES);
    const [b, c] = [a + TILE_PANEL_BYTES, a + 2 * TILE_PANEL_BYTES];
    const flops = microKernelLoop(TILE_CALLS, TILE_K, a, b, c);
    return { call: () => microKernelLoop(TILE_CALLS, TILE_K, a, b, c), flops };
  };
  const bindMatmul = (test: MatmulCase): Work => {
    const shape = shapeOf(test);
    const { m, n, k } = shape;
    const scratchBytes = provider.scratchBytes(shape);
    const spec = {
      ...{ ...shape, a: operand(m * k), b: operand(k * n), c: operand(m * n) },
      ...(shape.bias === undefined ? {} : { bias: operand(n) }),
      ...{ scratch: alloc(scratchBytes), scratchBytes },
    };
    return { call: provider.matmul(spec), flops: 2 * m * n * k };
  };
  /** Of f32 operands and no bias. */
  const bindConv = (shape: ConvShape): Work => {
    const weights = (shape.kernelHeight * shape.kernelWidth * shape.channels * shape.outChannels) / shape.groups;
    const pixels = shape.batch * shape.outHeight * shape.outWidth;
    const scratchBytes = provider.conv.scratchBytes(shape);
    const call = provider.conv.bind(shape, {
      x: operand(shape.batch * shape.height * shape.width * shape.channels),
      ...{ w: operand(weights), y: operand(pixels * shape.outChannels) },
      ...{ scratch: alloc(scratchBytes), scratchBytes },
    });
    return { call, flops: 2 * weights * pixels };
  };

  return cases.map((test) => {
    const work = bindCase(test);
    work.call();
    if (!meeting.wait()) throw new Error("another thread of the measurement failed");
    const speed = time(work, milliseconds);
    for (const pointer of blocks.splice(0)) heap.free(pointer);
    return speed;
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
