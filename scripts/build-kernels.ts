// Compiles the AssemblyScript kernels, `src/**/NAME.as.ts` to `build/kernels/NAME.wasm`: only those whose source, imports,
// options or compiler changed, in parallel, each stamped with what it was made from. Outputs without a source go.
// Of every kernel there is NAME.64.wasm too, for heaps above 4 GiB. A first line `// variants: relaxed` asks for
// NAME.relaxed.wasm and NAME.relaxed.64.wasm; `// library` marks a source that others only import.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import {
  KERNEL_FOLDER,
  KERNEL_SUFFIX,
  type KernelStamp,
  type KernelTarget,
  kernelFileName,
  kernelHash,
  kernelTargets,
  readStamp,
  stampKernel,
} from "../src/memory/kernel-source.ts";
import { compileKernel } from "./kernel-compiler.ts";

interface Job {
  readonly stamp: KernelStamp;
  readonly target: KernelTarget;
  readonly output: string;
}

const root = join(import.meta.dirname, "..");
const folder = join(root, KERNEL_FOLDER);

if (isMainThread) await build();
else serveCompiler();

async function build(): Promise<void> {
  const started = performance.now();
  mkdirSync(folder, { recursive: true });
  const { jobs, outputs } = plan();
  for (const file of readdirSync(folder)) if (!outputs.has(file)) rmSync(join(folder, file), { recursive: true });
  if (jobs.length === 0) return;
  const failures = await compileAll(jobs, (done) => {
    if (process.stderr.isTTY) process.stderr.write(`\rkernels: ${done} of ${jobs.length}`);
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (process.stderr.isTTY) process.stderr.write("\r");
  console.error(
    `kernels: ${jobs.length - failures.length} compiled, ${outputs.size - jobs.length} up to date (${seconds} s)`,
  );
  for (const failure of failures) console.error(failure);
  if (failures.length > 0) process.exitCode = 1;
}

/** What must be compiled, and the names of all files that belong into the folder. */
function plan(): { jobs: Job[]; outputs: Set<string> } {
  const packageFile = fileURLToPath(import.meta.resolve("assemblyscript/package.json"));
  const compiler = `assemblyscript ${JSON.parse(readFileSync(packageFile, "utf8")).version}`;
  const jobs: Job[] = [];
  const outputs = new Map<string, string>();
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
  for (const file of files.filter((name) => name.endsWith(KERNEL_SUFFIX)).sort()) {
    const source = `src/${file.replaceAll("\\", "/")}`;
    const text = readFileSync(join(root, source), "utf8");
    if (/^\/\/ library\b/.test(text)) continue;
    const stamp = { source, hash: kernelHash(join(root, source), root), compiler };
    for (const target of kernelTargets(text)) {
      const output = kernelFileName(basename(source, KERNEL_SUFFIX), target);
      const other = outputs.get(output);
      if (other !== undefined) throw new Error(`${source} and ${other} would both become ${output}: rename one`);
      outputs.set(output, source);
      if (!isCurrent(join(folder, output), stamp)) jobs.push({ stamp, target, output });
    }
  }
  return { jobs, outputs: new Set(outputs.keys()) };
}

function isCurrent(path: string, stamp: KernelStamp): boolean {
  try {
    const found = readStamp(new WebAssembly.Module(readFileSync(path)));
    return found?.source === stamp.source && found.hash === stamp.hash && found.compiler === stamp.compiler;
  } catch {
    return false;
  }
}

/** Compiles in worker threads (a warm compiler is several times faster than a new one) and returns the error texts. */
async function compileAll(jobs: Job[], progress: (done: number) => void): Promise<string[]> {
  const failures: string[] = [];
  let next = 0;
  let done = 0;
  const lane = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL(import.meta.url));
      const feed = (): void => {
        if (next < jobs.length) worker.postMessage(jobs[next++]);
        else void worker.terminate().then(() => resolve());
      };
      worker.on("error", reject);
      worker.on("message", (failure: string) => {
        if (failure !== "") failures.push(failure);
        progress(++done);
        feed();
      });
      feed();
    });
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), jobs.length) }, lane));
  return failures;
}

function serveCompiler(): void {
  parentPort!.on("message", (job: Job) => {
    compile(job).then(
      () => parentPort!.postMessage(""),
      (error: Error) => parentPort!.postMessage(`${job.stamp.source}: ${error.message}`),
    );
  });
}

async function compile(job: Job): Promise<void> {
  const binary = await compileKernel(job.stamp.source, job.target, (name) => readIfPresent(join(root, name)));
  if (sectionIds(binary).includes(11)) {
    throw new Error("uses static data (a string, array or table), which kernels on a shared memory must not");
  }
  // Renaming is atomic: another build at the same time, or a reader, never sees half a file.
  const temporary = mkdtempSync(`${folder}-`);
  writeFileSync(join(temporary, job.output), stampKernel(binary, job.stamp));
  renameSync(join(temporary, job.output), join(folder, job.output));
  rmSync(temporary, { recursive: true });
}

function readIfPresent(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function sectionIds(binary: Uint8Array): number[] {
  const ids: number[] = [];
  for (let at = 8; at < binary.length; ) {
    ids.push(binary[at++]!);
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = binary[at++]!;
      size |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    at += size;
  }
  return ids;
}
