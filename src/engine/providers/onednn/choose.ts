// Which of oneDNN's two ways to take for a shape: a rule, overruled where a measurement finds the other one clearly faster.
// The margin keeps the choice the same from run to run, so that results are too.
import type { Heap } from "../../../memory/index.ts";
import type { MatmulShape, MatmulSpec } from "../../provider.ts";

export type Method = "matmul" | "sgemm";

/** Choices by `shapeKey`: plain data, which goes to the other threads. */
export type Choices = Readonly<Record<string, Method>>;

/** What distinguishes two shapes for a choice. */
export function shapeKey(shape: MatmulShape): string {
  const layout = `${shape.transposeA ? "T" : "N"}${shape.transposeB ? "T" : "N"}`;
  const epilogue = `${shape.bias === undefined ? "" : "+bias"}${shape.activation ? `+${shape.activation}` : ""}`;
  return `${shape.m}x${shape.n}x${shape.k}${layout}${epilogue}${shape.accumulate ? "+c" : ""}`;
}

/** How much faster the other way must be. Between the two, full-speed code differs by a few percent. */
const MARGIN = 1.15;
const ROUNDS = 5;
const MIN_MICROSECONDS = 20;

/** The rule: fuse the epilogue where there is one; products of vectors have their own code in `dnnl_sgemm`. */
export function methodByRule(shape: MatmulShape): Method {
  if (shape.m === 1 || shape.n === 1 || shape.k === 1) return "sgemm";
  return shape.bias !== undefined || shape.activation !== undefined ? "matmul" : "sgemm";
}

/** Times both ways on memory of their own and returns the method to take. */
export function measureMethods(
  heap: Heap,
  shape: MatmulShape,
  scratchBytes: number,
  bind: (method: Method, spec: MatmulSpec) => () => void,
): Method {
  const preferred = methodByRule(shape);
  const { m, n, k } = shape;
  const sizes = [m * k, k * n, m * n, n].map((count) => Math.ceil(count / 16) * 64);
  const block = heap.alloc(sizes.reduce((sum, size) => sum + size, scratchBytes));
  try {
    const addresses = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, size) => sum + size, block));
    const [a, b, c, bias] = addresses as [number, number, number, number];
    const { bias: wanted, ...rest } = shape;
    const scratch = bias + sizes[3]!;
    const spec: MatmulSpec = { ...rest, a, b, c, scratch, scratchBytes, ...(wanted === undefined ? {} : { bias }) };
    const calls = { matmul: bind("matmul", spec), sgemm: bind("sgemm", spec) };
    const best = { matmul: Number.POSITIVE_INFINITY, sgemm: Number.POSITIVE_INFINITY };
    const repeats = { matmul: repeatsFor(calls.matmul), sgemm: repeatsFor(calls.sgemm) };
    for (let round = 0; round < ROUNDS; round++) {
      for (const method of ["matmul", "sgemm"] as const) {
        best[method] = Math.min(best[method], microseconds(calls[method], repeats[method]));
      }
    }
    const other: Method = preferred === "matmul" ? "sgemm" : "matmul";
    return best[preferred] > best[other] * MARGIN ? other : preferred;
  } finally {
    heap.free(block);
  }
}

/** Also warms up: the first call generates code. */
function repeatsFor(call: () => void): number {
  call();
  return Math.max(1, Math.ceil(MIN_MICROSECONDS / Math.max(microseconds(call, 1), 0.5)));
}

function microseconds(call: () => void, repeats: number): number {
  const start = performance.now();
  for (let i = 0; i < repeats; i++) call();
  return ((performance.now() - start) * 1000) / repeats;
}
