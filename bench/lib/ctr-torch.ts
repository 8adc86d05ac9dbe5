// PyTorch as a system of the CTR benchmark, with the settings that make it fastest here or as it comes.

import { type CtrFiles, recipe, type System, type Window } from "./ctr-recipe.ts";
import { type Environment, Peer } from "./python.ts";
import { counted, say } from "./report.ts";

/** No settings, whatever this process was started with or has set for itself. */
export const asInstalled: Environment = {
  OMP_NUM_THREADS: undefined,
  OPENBLAS_NUM_THREADS: undefined,
  OPENBLAS_CORETYPE: undefined,
};

/** Kernels of OpenBLAS 0.3.21 for x86-64; without the setting it takes processors that it does not know for older ones. */
const CORETYPES = ["SkylakeX", "Cooperlake", "SapphireRapids", "Zen", "Haswell"];
/** Another type must be this much faster to be taken over OpenBLAS's own choice. */
const CLEARLY = 1.03;

export interface Tuning {
  readonly environment: Environment;
  /** GFLOP/s of a 512³ product by setting, the empty one as installed. */
  readonly rates: Readonly<Record<string, number>>;
}

/** Finds the fastest OPENBLAS_CORETYPE by measuring each. */
export async function tune(python: string): Promise<Tuning> {
  const rates: Record<string, number> = {};
  for (const type of ["", ...CORETYPES]) {
    const environment = type === "" ? asInstalled : { ...asInstalled, OPENBLAS_CORETYPE: type };
    const answers = await new Peer(python, "gemm_torch.py", [], environment).all<{ gflops: number }>();
    rates[type] = answers[0]!.gflops;
    say(`PyTorch product, OPENBLAS_CORETYPE ${type || "not set"}: ${Math.round(rates[type])} GFLOP/s`);
  }
  const best = CORETYPES.reduce((a, b) => (rates[b]! > rates[a]! ? b : a));
  const coretype = rates[best]! > CLEARLY * rates[""]! ? best : undefined;
  return {
    rates,
    environment: {
      OPENBLAS_CORETYPE: coretype,
      OMP_NUM_THREADS: "1",
      OPENBLAS_NUM_THREADS: "1",
      // Keeps the memory of a step's tensors instead of returning it to the system each time.
      MALLOC_MMAP_THRESHOLD_: "268435456",
      MALLOC_TRIM_THRESHOLD_: "1073741824",
    },
  };
}

/** What both modes of ctr_torch.py take. */
export function torchArguments(workers: number): string[] {
  const { dim, hidden, batch, learningRate, vocabulary } = recipe;
  return [
    ...["--vocabulary", String(vocabulary), "--dim", String(dim), "--hidden", ...hidden.map(String)],
    ...["--batch", String(batch), "--lr", String(learningRate), "--workers", String(workers)],
  ];
}

export class Torch implements System {
  readonly name: string;
  readonly threads: number;
  readonly #peer: Peer;

  private constructor(name: string, workers: number, peer: Peer) {
    this.name = name;
    this.threads = workers;
    this.#peer = peer;
  }

  /** @param how appears in the name */
  static async open(
    python: string,
    how: string,
    environment: Environment,
    workers: number,
    files: CtrFiles,
  ): Promise<Torch> {
    const peer = new Peer(python, "ctr_torch.py", ["speed", files.tensors, ...torchArguments(workers)], environment);
    await peer.next();
    return new Torch(`PyTorch ${how}, ${counted(workers, "process", "es")}`, workers, peer);
  }

  window(seconds: number): Promise<Window> {
    return this.#peer.ask<Window>(String(seconds));
  }

  close(): Promise<void> {
    return this.#peer.close();
  }
}
