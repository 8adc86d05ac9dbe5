// Runs as a process of its own: loads the oneDNN library named by the first argument, multiplies a few matrices and
// convolves a picture. A crash in here is a message to the parent, not its end. Prints one line of JSON.
import { Heap } from "../../memory/index.ts";
import type { ConvShape, Provider } from "../provider.ts";
import { checkMatmul, type MatmulCase } from "../providers/contract.ts";
import { openOneDnn } from "../providers/onednn/library.ts";
import { oneDnnProvider } from "../providers/onednn/provider.ts";

const cases: MatmulCase[] = [
  { m: 33, n: 17, k: 40 },
  { m: 64, n: 48, k: 100, transposeB: true, bias: true, activation: "relu" },
  { m: 40, n: 31, k: 64, transposeA: true, accumulate: true },
  { m: 50, n: 1, k: 20, bias: true, activation: "sigmoid" },
];

const HEIGHT = 7;
const WIDTH = 9;
const CHANNELS = 16;
const KERNEL = 3;

/** Of Winograd's algorithm, relative to the largest number. */
const ROUNDING = 1e-6;

/** Convolves with a kernel that is 1 from each channel to itself at its upper right corner: it shifts the picture. */
function checkConvolution(heap: Heap, { conv }: Provider): void {
  const shape: ConvShape = {
    ...{ direction: "forward", batch: 1, groups: 1, bias: false, types: { x: "f32", w: "f32", y: "f32" } },
    ...{ height: HEIGHT, width: WIDTH, channels: CHANNELS },
    ...{ outHeight: HEIGHT, outWidth: WIDTH, outChannels: CHANNELS },
    ...{ kernelHeight: KERNEL, kernelWidth: KERNEL, padTop: 1, padLeft: 1 },
    ...{ strideHeight: 1, strideWidth: 1, dilationHeight: 1, dilationWidth: 1 },
  };
  const pixels = HEIGHT * WIDTH * CHANNELS;
  const weights = KERNEL * KERNEL * CHANNELS * CHANNELS;
  const [x, y, w] = [pixels, pixels, weights].map((count) => heap.alloc(count * 4)) as [number, number, number];
  const [picture, result, kernel] = [heap.f32(x, pixels), heap.f32(y, pixels), heap.f32(w, weights)];
  for (let i = 0; i < pixels; i++) picture[i] = i + 1;
  const corner = (KERNEL - 1) * CHANNELS * CHANNELS;
  for (let channel = 0; channel < CHANNELS; channel++) kernel[corner + channel * CHANNELS + channel] = 1;
  const scratchBytes = conv.scratchBytes(shape);
  conv.bind(shape, { x, w, y, scratch: heap.alloc(scratchBytes), scratchBytes })();
  for (let i = 0; i < pixels; i++) {
    const row = Math.floor(i / (WIDTH * CHANNELS));
    const column = Math.floor(i / CHANNELS) % WIDTH;
    const wanted = row === 0 || column === WIDTH - 1 ? 0 : picture[i - (WIDTH - 1) * CHANNELS]!;
    if (!(Math.abs(result[i]! - wanted) <= ROUNDING * pixels)) {
      const place = `[${row}, ${column}, ${i % CHANNELS}]`;
      throw new Error(`a convolution that shifts a picture: y${place} is ${result[i]}, expected ${wanted}`);
    }
  }
}

function verify(path: string): object {
  const library = openOneDnn(path);
  const heap = Heap.create({ maxBytes: 2 ** 24 });
  for (const method of ["matmul", "sgemm"] as const) {
    const provider = oneDnnProvider(heap, library, { method });
    for (const test of cases) checkMatmul(heap, provider, test);
  }
  checkConvolution(heap, oneDnnProvider(heap, library));
  const { version, major, nativeBf16 } = library.native;
  return { version, major, nativeBf16, singleThreaded: library.singleThreaded };
}

try {
  console.log(JSON.stringify(verify(process.argv[2]!)));
} catch (error) {
  console.log(JSON.stringify({ problem: (error as Error).message }));
}
