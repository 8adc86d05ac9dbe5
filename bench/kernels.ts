// How close generated kernels come to the memory's speed: GB/s of elementwise work, reductions, norms and AdaGrad, dense and
// sparse, beside a plain JavaScript loop and a memory copy over the same bytes in the same run.
import * as e from "../src/kernels/expr.ts";
import {
  bindKernels,
  compileKernels,
  type Kernel,
  type KernelFunction,
  type UpdateRule,
} from "../src/kernels/index.ts";
import { networkOps } from "./lib/network-ops.ts";

export interface KernelBenchOptions {
  /** Seconds spent on each measurement; default 0.2. */
  readonly seconds?: number;
}

export interface BenchRow {
  readonly system: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
}

export interface BenchGoal {
  readonly name: string;
  readonly value: number;
  readonly goal: number;
  readonly met: boolean;
}

const ROWS = 512;
const COLUMNS = 400;
const ACTIVATIONS = ROWS * COLUMNS;
const PARAMETERS = 500_000;
const TABLE_ROWS = 1_000_000;
const UPDATED_ROWS = 8192;
const DIM = 16;
const ROW_BYTES = 128;
const REGION = 64 * 1024 * 1024;

const adagrad: UpdateRule = (() => {
  const [w, g, sum, lr] = [e.input(0), e.input(1), e.input(2), e.input(3)];
  const squares = e.add(sum, e.mul(g, g));
  return {
    slots: [{ name: "sum", initial: 0 }],
    scalars: ["lr"],
    weight: e.sub(w, e.div(e.mul(lr, g), e.add(e.sqrt(squares), 1e-10))),
    state: [squares],
  };
})();

const map = (exprs: readonly e.Expr[], ...shapes: number[][]): Kernel => ({
  type: "map",
  exprs,
  shape: shapes[0]!,
  inputs: shapes.map((shape) => ({ shape })),
});

const x = e.input(0);
const kernels: readonly Kernel[] = [
  map([e.max(x, 0)], [ACTIVATIONS]),
  map([e.add(x, e.input(1))], [ACTIVATIONS], [ACTIVATIONS]),
  map([e.max(e.add(x, e.input(1)), 0)], [ROWS, COLUMNS], [COLUMNS]),
  map([e.sigmoid(x)], [ACTIVATIONS]),
  map([e.tanh(x)], [ACTIVATIONS]),
  map([adagrad.weight, ...adagrad.state], [PARAMETERS], [PARAMETERS], [PARAMETERS], []),
  { type: "reduce", op: "sum", exprs: [x], shape: [ROWS, COLUMNS], inputs: [{ shape: [ROWS, COLUMNS] }], axes: [0] },
  { type: "reduce", op: "sum", exprs: [x], shape: [PARAMETERS], inputs: [{ shape: [PARAMETERS] }], axes: [0] },
  { type: "rowUpdate", rule: adagrad, dim: DIM, weightOffset: 0, slotOffsets: [4 * DIM] },
];

/** Plain loops, as one would write them by hand. */
const plain = {
  relu: (a: Float32Array, b: Float32Array, n: number): void => {
    for (let i = 0; i < n; i++) b[i] = Math.max(a[i]!, 0);
  },
  sigmoid: (a: Float32Array, b: Float32Array, n: number): void => {
    for (let i = 0; i < n; i++) b[i] = 1 / (1 + Math.exp(-a[i]!));
  },
  adagrad: (w: Float32Array, g: Float32Array, s: Float32Array, lr: number, n: number): void => {
    for (let i = 0; i < n; i++) {
      s[i]! += g[i]! * g[i]!;
      w[i]! -= (lr * g[i]!) / (Math.sqrt(s[i]!) + 1e-10);
    }
  },
};

/** Calls per second: the fastest of several slices of the given time. */
function rate(seconds: number, call: () => void): number {
  const slices = 8;
  let best = 0;
  for (let slice = 0; slice < slices; slice++) {
    const start = performance.now();
    let calls = 0;
    let elapsed = 0;
    while (elapsed < (1000 * seconds) / slices) {
      for (let i = 0; i < 4; i++) call();
      calls += 4;
      elapsed = performance.now() - start;
    }
    best = Math.max(best, (1000 * calls) / elapsed);
  }
  return best;
}

/**
 * Runs the benchmark and says which goals were met. Work whose operands outgrow the second-level cache is held against the
 * large copy.
 */
export async function run(options: KernelBenchOptions = {}): Promise<{ rows: BenchRow[]; goals: BenchGoal[] }> {
  const { seconds = 0.2 } = options;
  const pages = (REGION + TABLE_ROWS * ROW_BYTES) / 65536 + 1;
  const memory = new WebAssembly.Memory({ initial: Math.ceil(pages), maximum: 65536, shared: true });
  const compileStart = performance.now();
  const compiled = compileKernels(kernels);
  const functions = bindKernels(compiled, memory);
  const compileMs = performance.now() - compileStart;
  const [relu, add, bias, sigmoid, tanh, update, columnSum, fullSum, rowUpdate] = functions as [
    KernelFunction,
    KernelFunction,
    KernelFunction,
    KernelFunction,
    KernelFunction,
    KernelFunction,
    KernelFunction,
    KernelFunction,
    KernelFunction,
  ];
  const block = 4 * 1024 * 1024;
  const [a, b, c, d] = [block, 2 * block, 3 * block, 4 * block];
  const floats = (pointer: number, length: number): Float32Array => new Float32Array(memory.buffer, pointer, length);
  const bytes = (pointer: number, length: number): Uint8Array => new Uint8Array(memory.buffer, pointer, length);
  for (const pointer of [a, b, c])
    floats(pointer, PARAMETERS).forEach((_, i, all) => {
      all[i] = Math.sin(i + pointer);
    });
  floats(c, PARAMETERS).fill(1);
  floats(d, 1)[0] = 0.01;
  const handles = new Uint32Array(memory.buffer, b - 4 * UPDATED_ROWS, UPDATED_ROWS);
  for (let i = 0; i < UPDATED_ROWS; i++) {
    handles[i] = (REGION + ROW_BYTES * ((Math.imul(i, 2654435761) >>> 0) % TABLE_ROWS)) / 16;
  }

  const rows: BenchRow[] = [
    { system: "flotilla", metric: `compile ${kernels.length} kernels`, value: compileMs, unit: "ms" },
  ];
  const measure = (system: string, metric: string, moved: number, call: () => void): number => {
    const value = (rate(seconds, call) * moved) / 1e9;
    rows.push({ system, metric, value, unit: "GB/s" });
    return value;
  };
  const activations = 4 * ACTIVATIONS;
  const from = bytes(a, activations);
  const to = bytes(b, activations);
  const copy = measure("memory copy", "800 kB", 2 * activations, () => to.set(from));
  const fromLarge = bytes(a, 10 * PARAMETERS);
  const toLarge = bytes(d + 64, 10 * PARAMETERS);
  const copyLarge = measure("memory copy", "5 MB", 20 * PARAMETERS, () => toLarge.set(fromLarge));
  const reluRate = measure("flotilla", "relu", 2 * activations, () => relu(a, b));
  const addRate = measure("flotilla", "add", 3 * activations, () => add(a, b, c));
  measure("flotilla", "bias + relu", 2 * activations, () => bias(a, b, c));
  measure("flotilla", "sigmoid", 2 * activations, () => sigmoid(a, b));
  measure("flotilla", "tanh", 2 * activations, () => tanh(a, b));
  measure("flotilla", "column sum", activations, () => columnSum(a, b));
  measure("flotilla", "sum of all", 4 * PARAMETERS, () => fullSum(a, d + 64));
  const updateRate = measure("flotilla", "dense AdaGrad", 20 * PARAMETERS, () => update(a, b, c, d, a, c));
  const [fa, fb, fc] = [floats(a, PARAMETERS), floats(b, PARAMETERS), floats(c, PARAMETERS)];
  measure("plain JavaScript", "relu", 2 * activations, () => plain.relu(fa, fb, ACTIVATIONS));
  measure("plain JavaScript", "sigmoid", 2 * activations, () => plain.sigmoid(fa, fb, ACTIVATIONS));
  measure("plain JavaScript", "dense AdaGrad", 20 * PARAMETERS, () => plain.adagrad(fa, fb, fc, 0.01, PARAMETERS));
  const updated = rate(seconds, () => rowUpdate(b - 4 * UPDATED_ROWS, b, UPDATED_ROWS, d)) * UPDATED_ROWS;
  rows.push({ system: "flotilla", metric: `sparse AdaGrad, dim ${DIM}`, value: updated / 1e6, unit: "M rows/s" });

  for (const { title, bytes: moved, open } of networkOps()) {
    const { run: call, close } = open();
    measure("flotilla", title, moved, call);
    close();
  }

  const goal = (name: string, value: number, least: number): BenchGoal => ({
    name,
    value,
    goal: least,
    met: value >= least,
  });
  return {
    rows,
    goals: [
      goal("relu against memory copy", reluRate / copy, 0.8),
      goal("add against memory copy", addRate / copyLarge, 0.8),
      goal("dense AdaGrad against memory copy", updateRate / copyLarge, 0.7),
      goal("sparse AdaGrad at dim 16, M rows/s", updated / 1e6, 30),
    ],
  };
}
