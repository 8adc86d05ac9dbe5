// What `flotilla doctor` reports: the machine, the providers found with their speed, and the fix for what is missing.
import { existsSync } from "node:fs";
import type { ProviderDescription, ProviderName } from "../providers/index.ts";
import { cacheFolder, locateOneDnn } from "../providers/onednn/locate.ts";
import { describeMachine, type Machine } from "./machine.ts";
import { measureSpeed } from "./speed.ts";
import { type VerifiedLibrary, verifyLibrary } from "./verify.ts";

export interface ProviderReport {
  readonly name: ProviderName;
  readonly found: boolean;
  /** Of oneDNN: the library's file, its version, and the generation of its C interface (2 or 3). */
  readonly path?: string;
  readonly version?: string;
  readonly api?: number;
  /** Whether bf16 is multiplied by the processor's own instructions, at about twice the rate of f32; else it is emulated. */
  readonly nativeBf16?: boolean;
  /** On 512×400×400 products, with one thread and with one thread on each core; absent where it was not measured. */
  readonly gflops?: { readonly oneThread: number; readonly allThreads: number };
  /** Why it is not there, or what is wrong with it. */
  readonly problems: readonly string[];
  /** The command that mends it. */
  readonly fix?: string;
}

export interface Probe {
  readonly machine: Machine;
  readonly providers: readonly ProviderReport[];
  /** What a training run on this machine takes. */
  readonly selected: ProviderName;
}

export interface ProbeOptions {
  /** Of measuring for each provider and number of threads; 0 leaves the readings out. Default 1. */
  readonly seconds?: number;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const SHAPE = { m: 512, n: 400, k: 400 };

/** Looks at this machine. Libraries are tried in a child process first: one that crashes is reported, not felt. */
export async function probe(options: ProbeOptions = {}): Promise<Probe> {
  const { seconds = 1, env = process.env } = options;
  const machine = describeMachine();
  const wasm: ProviderReport = {
    ...{ name: "wasm", found: true, nativeBf16: false },
    problems: machine.relaxedSimd
      ? []
      : [`Node ${machine.node} has no relaxed SIMD: WASM runs at about half of its speed`],
    ...(machine.relaxedSimd ? {} : { fix: "run with Node 24 or newer" }),
    ...(await reading({ name: "wasm" }, seconds, machine.cores)),
  };
  const oneDnn = await probeOneDnn(seconds, machine.cores, env);
  const forced = env.FLOTILLA_PROVIDER === "wasm";
  return { machine, providers: [wasm, oneDnn], selected: oneDnn.found && !forced ? "onednn" : "wasm" };
}

async function probeOneDnn(
  seconds: number,
  cores: number,
  env: NonNullable<ProbeOptions["env"]>,
): Promise<ProviderReport> {
  const problems: string[] = [];
  let library: VerifiedLibrary | undefined;
  for (const path of locateOneDnn(env)) {
    const verification = await verifyLibrary(path);
    if (verification.ok) {
      library = verification.library;
      break;
    }
    problems.push(verification.problem);
  }
  if (library === undefined) {
    if (problems.length === 0) problems.push(`no libdnnl in the system's folders or ${cacheFolder(env)}`);
    return { name: "onednn", found: false, problems, fix: installAdvice(env) };
  }
  const { path, version, major: api, nativeBf16, singleThreaded } = library;
  if (!singleThreaded) {
    problems.push("its threads cannot be set to one a trainer; an OpenMP build is faster with several trainers");
  }
  const gflops = await reading({ name: "onednn", path, version }, seconds, cores);
  return { name: "onednn", found: true, path, version, api, nativeBf16, problems, ...gflops };
}

async function reading(
  provider: ProviderDescription,
  seconds: number,
  cores: number,
): Promise<Pick<ProviderReport, "gflops">> {
  if (seconds === 0) return {};
  const task = { provider, cases: [SHAPE], milliseconds: seconds * 1000 };
  const oneThread = (await measureSpeed(task, 1))[0]!.mean;
  const allThreads = cores > 1 ? (await measureSpeed(task, cores))[0]!.mean : oneThread;
  return { gflops: { oneThread, allThreads } };
}

/** The one command that brings oneDNN to this machine. */
export function installAdvice(env: NonNullable<ProbeOptions["env"]>, platform: string = process.platform): string {
  if (env.FLOTILLA_ONEDNN) return "set FLOTILLA_ONEDNN to the path of a libdnnl library, or unset it";
  if (platform === "darwin") return "brew install onednn";
  if (platform === "linux" && existsSync("/usr/bin/apt-get")) return "flotilla doctor --fix (needs no root)";
  return "conda install -c conda-forge onednn, or set FLOTILLA_ONEDNN to the path of a libdnnl library";
}
