// Dense arithmetic by oneDNN on the shared heap, one library thread for each of ours.
import koffi from "koffi";
import { type Heap, instantiate } from "../../../memory/index.ts";
import type { FloatType } from "../../plan.ts";
import type {
  ConvAddresses,
  ConvShape,
  MatmulShape,
  PoolAddresses,
  PoolShape,
  Provider,
  Scratch,
  Work,
} from "../../provider.ts";
import { checkShape, checkSpec } from "../spec.ts";
import { checked, convDemands, normDemands, poolDemands } from "../spec-work.ts";
import { batchScratchBytes, bindBatch, type DenseProduct } from "../wasm/batch.ts";
import { onF32Copies } from "../wasm/conv.ts";
import { wasmKernels, wasmProvider } from "../wasm/provider.ts";
import { type Candidate, type Choices, Chooser, type ChooserOptions } from "./choose.ts";
import { convCandidates, convKey, convSample } from "./conv.ts";
import type { OneDnn } from "./library.ts";
import { type MatmulAddresses, matmulCandidates, matmulKey, matmulSample } from "./matmul.ts";
import { createNorm, normKey, type RstdKernels } from "./norm.ts";
import { createHalfGradient, createPooling, poolKey } from "./pool.ts";
import type { Implementation, Runtime } from "./primitive.ts";

export interface OneDnnProvider extends Provider {
  /** The choices made so far. */
  choices(): Choices;
}

/** All work by `library`; what it has no code for is not refused but done by the WASM kernels. */
export function oneDnnProvider(heap: Heap, library: OneDnn, options: ChooserOptions = {}): OneDnnProvider {
  const wasm = wasmProvider(heap);
  const kernels = wasmKernels(heap);
  const rstd = instantiate<RstdKernels>("rstd", heap);
  const runtime: Runtime = { library, heap, base: koffi.address(heap.u8(0, 64)) };
  const chooser = new Chooser(heap, options);

  /** oneDNN 2 and 3 turn f16 into f32 element by element: f32 copies by WASM around work of theirs are faster. */
  const dense: DenseProduct = {
    scratchBytes: (shape) => matmulFor(shape).scratchBytes,
    bind: (spec) => matmulFor(spec).bind(spec),
  };
  const matmulFor = (shape: MatmulShape): Implementation<MatmulAddresses> => {
    if (hasF16(shape.types)) {
      const bind: Implementation<MatmulAddresses>["bind"] = (at) => bindBatch(heap, { ...shape, ...at }, dense);
      return { scratchBytes: batchScratchBytes(shape, dense), bind };
    }
    const byWasm: Candidate<MatmulAddresses> = {
      method: "wasm",
      create: () => ({
        scratchBytes: wasm.scratchBytes(shape),
        bind: ({ a, b, c, bias, scratch, scratchBytes }) => {
          const { bias: _, ...rest } = shape;
          const addresses = { a, b, c, ...(bias === undefined ? {} : { bias }) };
          return wasm.matmul({ ...rest, ...addresses, scratch, scratchBytes });
        },
      }),
    };
    const candidates = shape.k === 0 ? [] : matmulCandidates(runtime, kernels, shape);
    return chooser.choose(matmulKey(shape), [...candidates, byWasm], () => matmulSample(runtime, kernels, shape));
  };
  // Choosing here, where programs are planned, lets the choice travel to the threads that run them.
  const scratchBytes = (shape: MatmulShape): number => {
    checkShape(shape);
    return matmulFor(shape).scratchBytes;
  };
  const convFor = (shape: ConvShape): Implementation<ConvAddresses> =>
    chooser.choose(convKey(shape), [...convCandidates(runtime, kernels, shape), fallback(wasm.conv, shape)], () =>
      convSample(runtime, kernels, shape),
    );
  const convByCopies = onF32Copies(heap, work(convFor));
  const poolFor = (shape: PoolShape, places: boolean): Implementation<PoolAddresses> =>
    chooser.only(poolKey(shape, places), [
      {
        method: "direct",
        create: () => createPooling(runtime, shape, places) ?? createHalfGradient(runtime, shape),
      },
      fallback(wasm.pool, shape),
    ]);
  return {
    name: "onednn",
    nativeBf16: library.native.nativeBf16,
    scratchBytes,
    matmul(spec) {
      checkSpec(spec, scratchBytes(spec));
      return matmulFor(spec).bind(spec);
    },
    conv: checked(
      convDemands,
      work((shape) => (hasF16(shape.types) ? fallback(convByCopies, shape).create()! : convFor(shape))),
    ),
    pool: checked(poolDemands, {
      // Inference may leave out the places, which the shape does not tell.
      scratchBytes: (shape) =>
        Math.max(
          ...(shape.mode === "max" ? [true, false] : [false]).map((places) => poolFor(shape, places).scratchBytes),
        ),
      bind: (shape, at) => poolFor(shape, at.places !== undefined).bind(at),
    }),
    norm: checked(
      normDemands,
      work((shape) =>
        chooser.only(normKey(shape), [
          { method: "direct", create: () => createNorm(runtime, rstd, shape) },
          fallback(wasm.norm, shape),
        ]),
      ),
    ),
    choices: () => chooser.choices(),
  };
}

const hasF16 = (types: Readonly<Record<string, FloatType>> | undefined): boolean =>
  types !== undefined && Object.values(types).includes("f16");

/** Work whose implementation is found by its shape. */
function work<Shape, Addresses>(find: (shape: Shape) => Implementation<Addresses>): Work<Shape, Addresses> {
  return {
    scratchBytes: (shape) => find(shape).scratchBytes,
    bind: (shape, at) => find(shape).bind(at),
  };
}

function fallback<Shape, Addresses>(work: Work<Shape, Addresses>, shape: Shape): Candidate<Addresses> {
  return {
    method: "wasm",
    create: () => ({ scratchBytes: work.scratchBytes(shape), bind: (at: Addresses & Scratch) => work.bind(shape, at) }),
  };
}
