// Other programs that learn word vectors: fetched and built on demand, run on one thread with the same settings.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { peerFolder } from "./paths.ts";
import { findPython } from "./python.ts";
import { say } from "./report.ts";

export interface TrainingJob {
  readonly text: string;
  readonly dim: number;
  readonly window: number;
  readonly negative: number;
  readonly subsample: number;
  readonly minCount: number;
}

export interface Word2VecPeer {
  readonly name: string;
  /** Thousand words a second of one thread. @throws when the program fails */
  train(job: TrainingJob): number;
}

/** A peer, or why there is none. */
export type Found = Word2VecPeer | { readonly name: string; readonly missing: string };

interface Source {
  readonly name: string;
  /** The variable that names a folder with its source. */
  readonly variable: string;
  readonly repository: string;
  /** A file that tells that the source is there. */
  readonly file: string;
}

const CLONE_SECONDS = 60;

/** The folder with a peer's source: the one that a variable names, or a clone. */
function sourceOf({ name, variable, repository, file }: Source): { folder: string } | { missing: string } {
  const own = process.env[variable];
  if (own !== undefined)
    return existsSync(join(own, file)) ? { folder: own } : { missing: `${variable} names no folder with ${file}` };
  const folder = join(peerFolder(name), "source");
  if (!existsSync(join(folder, file))) {
    const env = { ...process.env, GIT_TERMINAL_PROMPT: "0" };
    const clone = spawnSync("git", ["clone", "--quiet", "--depth", "1", repository, folder], {
      env,
      timeout: 1000 * CLONE_SECONDS,
      stdio: "ignore",
    });
    if (clone.status !== 0 || !existsSync(join(folder, file))) {
      return { missing: `${repository} cannot be cloned; name a folder with its source in ${variable}` };
    }
  }
  return { folder };
}

function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    maxBuffer: 2 ** 28,
    ...options,
  });
  if (status === 0) return `${stdout}${stderr}`;
  throw new Error(`${command} ${args.join(" ")} ended with ${status ?? error}: ${stderr?.slice(-1000)}`);
}

/** Builds a program from its source where it is not there yet; returns why it cannot be built. */
function missingProgram(program: string, source: Source, build: (folder: string) => void): string | undefined {
  if (existsSync(program)) return undefined;
  const found = sourceOf(source);
  if ("missing" in found) return found.missing;
  try {
    build(found.folder);
    return undefined;
  } catch (error) {
    return `cannot be built: ${(error as Error).message.split("\n").slice(0, 3).join(" ")}`;
  }
}

/** The last figure that a pattern finds in what a program prints. */
function lastNumber(output: string, pattern: RegExp): number {
  const found = [...output.matchAll(pattern)].at(-1)?.[1];
  if (found === undefined) throw new Error(`no ${pattern} in ${JSON.stringify(output.slice(-300))}`);
  return Number(found);
}

/** Options that word2vec.c and pWord2Vec share. */
const commonFlags = ({ text, dim, window, negative, subsample, minCount }: TrainingJob): string[] =>
  ["-train", text, "-output", "/dev/null", "-size", dim, "-window", window, "-negative", negative, "-sample", subsample]
    .concat(["-min-count", minCount, "-threads", 1, "-iter", 1, "-binary", 1])
    .map(String);

function original(): Found {
  const name = "word2vec.c";
  const source = {
    name,
    variable: "FLOTILLA_WORD2VEC_C",
    repository: "https://github.com/dav/word2vec",
    file: "src/word2vec.c",
  };
  const program = join(peerFolder(name), "word2vec");
  const missing = missingProgram(program, source, (folder) =>
    run("gcc", ["-O3", "-march=native", join(folder, "src/word2vec.c"), "-o", program, "-lm", "-lpthread"]),
  );
  if (missing !== undefined) return { name, missing };
  const rate = /Words\/thread\/sec: ([\d.]+)k/g;
  return {
    name,
    train: (job) => lastNumber(run(program, [...commonFlags(job), "-cbow", "0", "-hs", "0"]), rate),
  };
}

/** With OpenBLAS in the place of Intel's library, told which kernels to take, since those of newer processors may be unknown. */
function parallel(): Found {
  const name = "pWord2Vec";
  const source = {
    name,
    variable: "FLOTILLA_PWORD2VEC",
    repository: "https://github.com/IntelLabs/pWord2Vec",
    file: "pWord2Vec.cpp",
  };
  const program = join(peerFolder(name), "pWord2Vec");
  const missing = missingProgram(program, source, (folder) => {
    const text = readFileSync(join(folder, "pWord2Vec.cpp"), "utf8");
    const adapted = join(peerFolder(name), "adapted.cpp");
    writeFileSync(
      adapted,
      text
        .replace('#include "mkl.h"', "#include <cblas.h>\n#include <mm_malloc.h>")
        .replace("mkl_set_num_threads", "openblas_set_num_threads"),
    );
    const headers = ["/usr/include/x86_64-linux-gnu", "/usr/include/openblas"].map((path) => `-I${path}`);
    const flags = ["-std=c++11", "-fopenmp", "-O3", "-march=native", "-DUSE_MKL", ...headers];
    run("g++", [...flags, adapted, "-o", program, "-lopenblas"]);
  });
  if (missing !== undefined) return { name, missing };
  const cores = [undefined, ...(hasAvx512() ? ["SkylakeX"] : []), "Haswell"];
  return {
    name: "pWord2Vec, tuned OpenBLAS",
    train: (job) =>
      Math.max(
        ...cores.map((core) => {
          const env = core === undefined ? process.env : { ...process.env, OPENBLAS_CORETYPE: core };
          return lastNumber(run(program, commonFlags(job), { env }), /Words\/sec: ([\d.]+)k/g);
        }),
      ),
  };
}

function hasAvx512(): boolean {
  return existsSync("/proc/cpuinfo") && /\bavx512f\b/.test(readFileSync("/proc/cpuinfo", "utf8"));
}

function fastText(): Found {
  const name = "fastText";
  const source = {
    name,
    variable: "FLOTILLA_FASTTEXT",
    repository: "https://github.com/facebookresearch/fastText",
    file: "Makefile",
  };
  const program = join(peerFolder(name), "fasttext");
  const missing = missingProgram(program, source, (folder) => {
    // Some headers lack an include that newer compilers ask for.
    const flags = "CXXFLAGS=-pthread -std=c++17 -march=native -O3 -funroll-loops -DNDEBUG -include cstdint";
    run("make", ["-C", folder, "fasttext", flags]);
    run("cp", [join(folder, "fasttext"), program]);
  });
  if (missing !== undefined) return { name, missing };
  return {
    name,
    train: ({ text, dim, window, negative, subsample, minCount }) => {
      const flags = [
        "-input",
        text,
        "-output",
        join(peerFolder(name), "out"),
        "-dim",
        dim,
        "-ws",
        window,
        "-neg",
        negative,
      ];
      const rest = ["-t", subsample, "-minCount", minCount, "-epoch", 1, "-thread", 1, "-maxn", 0, "-lr", 0.025];
      const output = run(program, ["skipgram", ...[...flags, ...rest].map(String)]);
      return lastNumber(output, /words\/sec\/thread:\s*(\d+)/g) / 1000;
    },
  };
}

function gensim(): Found {
  const name = "gensim";
  const python = findPython(["gensim"]);
  if ("missing" in python) return { name, ...python };
  const script = join(import.meta.dirname, "../peers/word2vec_gensim.py");
  return {
    name,
    train: (job) => lastNumber(run(python.path, [script, JSON.stringify(job)]), /words\/s ([\d.]+)/g) / 1000,
  };
}

/** The peers that this machine has or can have; what is missing is said. */
export function word2vecPeers(): Word2VecPeer[] {
  return [original(), parallel(), fastText(), gensim()].flatMap((peer) => {
    if (!("missing" in peer)) return [peer];
    say(`without ${peer.name}: ${peer.missing}`);
    return [];
  });
}
