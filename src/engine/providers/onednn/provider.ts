// Matrix products by oneDNN on the shared heap, one library thread for each of ours.
import koffi from "koffi";
import type { Heap } from "../../../memory/index.ts";
import type { MatmulShape, MatmulSpec, Provider } from "../../provider.ts";
import { checkShape, checkSpec } from "../spec.ts";
import { bindEpilogue, type WasmKernels, wasmKernels } from "../wasm/provider.ts";
import { type Choices, type Method, measureMethods, shapeKey } from "./choose.ts";
import type { OneDnn } from "./library.ts";
import { bindMatmul, bindSgemm, createMatmul, type MatmulPrimitive } from "./matmul.ts";

export interface OneDnnProvider extends Provider {
  /** The choices made so far. */
  choices(): Choices;
}

export interface OneDnnOptions {
  /** Choices of another thread, taken over. */
  readonly choices?: Choices;
  /** Takes one way always, for tests and comparisons. */
  readonly method?: Method;
}

/** Matrix products by `library`; shapes that it has no code for are not refused but multiplied by the WASM kernels. */
export function oneDnnProvider(heap: Heap, library: OneDnn, options: OneDnnOptions = {}): OneDnnProvider {
  const kernels = wasmKernels(heap);
  const base: bigint = koffi.address(heap.u8(0, 64));
  const choices = new Map<string, Method>(Object.entries(options.choices ?? {}));
  const primitives = new Map<string, MatmulPrimitive | undefined>();

  const primitiveFor = (shape: MatmulShape): MatmulPrimitive | undefined => {
    const key = shapeKey(shape);
    if (!primitives.has(key)) primitives.set(key, createMatmul(library, shape));
    return primitives.get(key);
  };
  const bind = (method: Method, spec: MatmulSpec): (() => void) => {
    const primitive = method === "matmul" ? primitiveFor(spec) : undefined;
    if (primitive) return bindMatmul(library, heap, base, primitive, spec);
    return withEpilogue(bindSgemm(library, base, spec), spec, kernels);
  };
  const methodFor = (shape: MatmulShape): Method => {
    if (options.method) return options.method;
    const key = shapeKey(shape);
    let method = choices.get(key);
    if (method === undefined) {
      const primitive = primitiveFor(shape);
      method = primitive ? measureMethods(heap, shape, primitive.scratchBytes, bind) : "sgemm";
      choices.set(key, method);
    }
    return method;
  };
  // Enough for either method, so that threads that chose differently can run one plan; choosing here, where programs are
  // planned, lets the choice travel to the threads that run them.
  const scratchBytes = (shape: MatmulShape): number => {
    checkShape(shape);
    if (shape.k === 0) return 0;
    methodFor(shape);
    return primitiveFor(shape)?.scratchBytes ?? 0;
  };
  return {
    name: "onednn",
    scratchBytes,
    matmul(spec) {
      checkSpec(spec, scratchBytes(spec));
      return spec.k === 0 ? emptyProduct(spec, heap, kernels) : bind(methodFor(spec), spec);
    },
    choices: () => Object.fromEntries(choices),
  };
}

function withEpilogue(product: () => void, spec: MatmulSpec, kernels: WasmKernels): () => void {
  const epilogue = bindEpilogue(spec, kernels.gemv);
  if (epilogue === undefined) return product;
  return () => {
    product();
    epilogue();
  };
}

/** oneDNN takes no matrices of zero size. */
function emptyProduct(spec: MatmulSpec, heap: Heap, kernels: WasmKernels): () => void {
  const c = heap.f32(spec.c, spec.m * spec.n);
  return withEpilogue(spec.accumulate ? () => {} : () => void c.fill(0), spec, kernels);
}
