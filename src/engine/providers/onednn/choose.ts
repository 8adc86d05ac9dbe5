// Which of several ways to take for a shape: the first that the library offers, overruled where a measurement finds another
// one clearly faster. The margin keeps the choice the same from run to run, so that results are too.
import type { Heap } from "../../../memory/index.ts";
import type { Scratch } from "../../provider.ts";
import { type Implementation, roundUp } from "./primitive.ts";

/**
 * `sgemm`: `dnnl_sgemm`; `matmul`: the matmul primitive; `packed`: the same with its right operand reordered first;
 * `direct`: the primitive of the work itself; `mirrored`: an input gradient as a convolution with mirrored weights;
 * `blocked`: a convolution on pictures reordered to blocks of channels; `winograd`: one by Winograd's algorithm; `windows`: a
 * product of windows copied to the rows of a matrix; `turned`: a product whose result is transposed afterwards; `wasm`: the
 * WASM kernels.
 */
export type Method =
  | "sgemm"
  | "matmul"
  | "packed"
  | "direct"
  | "mirrored"
  | "blocked"
  | "winograd"
  | "windows"
  | "turned"
  | "wasm";

/** Choices by key: plain data, which goes to the other threads. */
export type Choices = Readonly<Record<string, Method>>;

export interface Candidate<Addresses> {
  readonly method: Method;
  /** Undefined where the library has no code. */
  create(): Implementation<Addresses> | undefined;
}

/** The ways of other work, for work whose operands are its operands under other names. */
export function renamed<From, To>(candidates: readonly Candidate<To>[], rename: (from: From) => To): Candidate<From>[] {
  return candidates.map(({ method, create }) => ({
    method,
    create() {
      const implementation = create();
      if (implementation === undefined) return undefined;
      const { scratchBytes, bind } = implementation;
      return {
        scratchBytes,
        bind: (at) => bind({ ...rename(at), scratch: at.scratch, scratchBytes: at.scratchBytes }),
      };
    },
  }));
}

/** The same work on a smaller shape, to measure on. */
export interface Sample<Addresses> {
  readonly candidates: readonly Candidate<Addresses>[];
  /** Of the operands, in bytes. */
  readonly sizes: readonly number[];
  place(addresses: readonly number[]): Addresses;
}

export interface ChooserOptions {
  /** Choices of another thread, taken over. */
  readonly choices?: Choices;
  /** Takes one way wherever it exists, for tests and comparisons. */
  readonly method?: Method;
  /** Takes the first way that the library offers, by rule alone: no clock decides. */
  readonly byRule?: boolean;
  /** A way that is never taken. */
  readonly without?: Method | undefined;
}

/** How much faster another way must be. Between two of full speed there are a few percent. */
const MARGIN = 1.15;
const ROUNDS = 5;
/** No more rounds after this time for each way: a network has some fifty shapes to choose for. */
const BUDGET_MILLISECONDS = 4;
const MIN_MICROSECONDS = 20;
/** A way that is so many times slower than the best one is out of the race. */
const LOST = 2;
/** A sample's arithmetic, in multiplications and additions: about a millisecond. */
export const SAMPLE_FLOPS = 2e8;

/** The implementations of a thread by key, with the choices that led to them. */
export class Chooser {
  readonly #heap: Heap;
  readonly #choices: Map<string, Method>;
  readonly #implementations = new Map<string, Implementation<never>>();
  readonly #forced: Method | undefined;
  readonly #byRule: boolean;
  readonly #without: Method | undefined;

  constructor(heap: Heap, { choices = {}, method, byRule = false, without }: ChooserOptions = {}) {
    this.#heap = heap;
    this.#choices = new Map(Object.entries(choices));
    this.#forced = method;
    this.#byRule = byRule;
    this.#without = without;
  }

  choices(): Choices {
    return Object.fromEntries(this.#choices);
  }

  /** Of `candidates`, the best by rule first, the one to take. The last one always has an implementation. */
  choose<Addresses>(
    key: string,
    candidates: readonly Candidate<Addresses>[],
    sample: () => Sample<Addresses>,
  ): Implementation<Addresses> {
    const known = this.#implementations.get(key);
    if (known !== undefined) return known as Implementation<Addresses>;
    const wanted = this.#forced ?? this.#choices.get(key);
    const allowed = this.#allowed(candidates);
    const implementation = this.#take(allowed, wanted) ?? this.#measure(key, allowed, sample);
    this.#implementations.set(key, implementation as Implementation<never>);
    return implementation;
  }

  /** The first of `candidates` that the library offers, for work where there is nothing to choose. */
  only<Addresses>(key: string, candidates: readonly Candidate<Addresses>[]): Implementation<Addresses> {
    let implementation = this.#implementations.get(key) as Implementation<Addresses> | undefined;
    for (const { create } of candidates) implementation ??= create();
    if (implementation === undefined) throw new Error(`oneDNN: no code for ${key}`);
    this.#implementations.set(key, implementation as Implementation<never>);
    return implementation;
  }

  #allowed<Addresses>(candidates: readonly Candidate<Addresses>[]): readonly Candidate<Addresses>[] {
    return candidates.filter(({ method }) => method !== this.#without);
  }

  #take<Addresses>(
    candidates: readonly Candidate<Addresses>[],
    method: Method | undefined,
  ): Implementation<Addresses> | undefined {
    return candidates.find((candidate) => candidate.method === method)?.create();
  }

  #measure<Addresses>(
    key: string,
    candidates: readonly Candidate<Addresses>[],
    sample: () => Sample<Addresses>,
  ): Implementation<Addresses> {
    const rivals = candidates.filter(({ method }) => method !== "wasm");
    const method = rivals.length > 1 && !this.#byRule ? this.#fastest(rivals, sample()) : rivals[0]?.method;
    const order = [...candidates].sort((a, b) => Number(b.method === method) - Number(a.method === method));
    for (const candidate of order) {
      const implementation = candidate.create();
      if (implementation === undefined) continue;
      this.#choices.set(key, candidate.method);
      return implementation;
    }
    throw new Error(`oneDNN: no code for ${key}`);
  }

  /** On a smaller shape the rules may have other ways, or another order. */
  #fastest<Addresses>(
    rivals: readonly Candidate<Addresses>[],
    { candidates, ...rest }: Sample<Addresses>,
  ): Method | undefined {
    const same = rivals.flatMap(({ method }) => candidates.find((candidate) => candidate.method === method) ?? []);
    return fastest(this.#heap, { candidates: same, ...rest });
  }
}

/** Times the ways of the sample that the library offers, on memory of their own. */
function fastest<Addresses>(heap: Heap, { candidates, sizes, place }: Sample<Addresses>): Method | undefined {
  const rivals = candidates.flatMap(({ method, create }) => {
    const implementation = method === "wasm" ? undefined : create();
    return implementation === undefined ? [] : [{ method, implementation }];
  });
  if (rivals.length < 2) return rivals[0]?.method;
  const scratchBytes = Math.max(...rivals.map(({ implementation }) => implementation.scratchBytes));
  const blocks = [...sizes, scratchBytes].map(roundUp);
  const block = heap.alloc(blocks.reduce((sum, size) => sum + size, 0));
  try {
    const addresses = blocks.map((_, i) => blocks.slice(0, i).reduce((sum, size) => sum + size, block));
    const at = { ...place(addresses), scratch: addresses.at(-1)!, scratchBytes } satisfies Addresses & Scratch;
    const runners = rivals.map(({ method, implementation }) => warmedUp(method, implementation.bind(at)));
    const leader = (): Runner => runners.reduce((a, b) => (b.best < a.best ? b : a));
    const start = performance.now();
    for (let round = 1; round < ROUNDS; round++) {
      const { best } = leader();
      const racing = runners.filter((runner) => runner.best < LOST * best);
      if (racing.length === 1 || performance.now() - start > BUDGET_MILLISECONDS * runners.length) break;
      for (const runner of racing) runner.best = Math.min(runner.best, microseconds(runner.call, runner.repeats));
    }
    const [first, winner] = [runners[0]!, leader()];
    return (first.best > winner.best * MARGIN ? winner : first).method;
  } finally {
    heap.free(block);
  }
}

interface Runner {
  readonly method: Method;
  readonly call: () => void;
  readonly repeats: number;
  /** Microseconds of a call, the least so far. */
  best: number;
}

/** The first call generates code. */
function warmedUp(method: Method, call: () => void): Runner {
  call();
  const best = microseconds(call, 1);
  return { method, call, repeats: Math.max(1, Math.ceil(MIN_MICROSECONDS / Math.max(best, 0.5))), best };
}

function microseconds(call: () => void, repeats: number): number {
  const start = performance.now();
  for (let i = 0; i < repeats; i++) call();
  return ((performance.now() - start) * 1000) / repeats;
}
