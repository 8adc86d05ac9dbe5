// Gets oneDNN from the distribution without root: downloads its package, checks the checksum, unpacks it into the user's
// cache folder, and keeps it only if it loads and computes rightly.
import { createHash, randomUUID } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { cacheFolder, locateOneDnn } from "../providers/onednn/locate.ts";
import { type Apt, type AptPackage, apt, runProgram } from "./apt.ts";
import { type Verification, verifyLibrary } from "./verify.ts";

export interface FetchOptions {
  /** Receives one line for each step. */
  readonly log?: (line: string) => void;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Fetch even where a working library lies already. */
  readonly force?: boolean;
}

export type FetchResult =
  | { readonly ok: true; readonly path: string; readonly version: string; readonly fetched: boolean }
  | { readonly ok: false; readonly reason: string };

const LIBRARY = /^libdnnl\.so\.\d+(\.\d+)*$/;
/** What the package may need besides the C and C++ runtime, which every Node has. */
const COMPANIONS: Readonly<Record<string, string>> = {
  libgomp1: "libgomp.so.1",
  "ocl-icd-libopencl1": "libOpenCL.so.1",
};

/** Makes oneDNN available to this user. Never rejects: a failure is a reason, and WASM goes on working. */
export async function fetchOneDnn(options: FetchOptions = {}): Promise<FetchResult> {
  const { log = () => {}, env = process.env, force = false } = options;
  if (!force) {
    for (const path of locateOneDnn(env)) {
      const found = await verifyLibrary(path);
      if (found.ok) return { ok: true, path, version: found.library.version, fetched: false };
      log(`${path} does not work: ${found.problem}`);
    }
  }
  if (process.platform !== "linux") return { ok: false, reason: `packages are fetched on Debian and Ubuntu only` };
  const cache = cacheFolder(env);
  const staging = join(cache, `.staging-${randomUUID()}`);
  try {
    mkdirSync(staging, { recursive: true });
    return await fetchInto(cache, staging, env, log);
  } catch (error) {
    return { ok: false, reason: (error as Error).message };
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

async function fetchInto(
  cache: string,
  staging: string,
  env: NonNullable<FetchOptions["env"]>,
  log: (line: string) => void,
): Promise<FetchResult> {
  const tools = apt(env);
  const packages = await download(tools, staging, env, log);
  const main = packages[0]!;
  const built = join(staging, "built");
  mkdirSync(join(built, "needed"), { recursive: true });
  for (const wanted of packages) await unpack(wanted, staging, env);
  const name = copyLibrary(join(staging, main.name), LIBRARY, built);
  for (const { name: companion } of packages.slice(1)) {
    copyLibrary(join(staging, companion), COMPANIONS[companion]!, join(built, "needed"));
  }
  log("checking that it loads and multiplies");
  const verified = await verifyLibrary(join(built, name));
  if (!verified.ok) return { ok: false, reason: verified.problem };
  return publish(built, join(cache, `${main.name}-${main.version.replace(/[^\w.+~-]/g, "_")}`), name, verified, log);
}

/** The package of oneDNN first. A list that is missing or names files that are gone is fetched anew, once. */
async function download(
  tools: Apt,
  staging: string,
  env: NonNullable<FetchOptions["env"]>,
  log: (line: string) => void,
): Promise<AptPackage[]> {
  const attempt = async (): Promise<AptPackage[]> => {
    const name = await tools.newest(/^libdnnl[\d.]+$/, "^libdnnl[0-9]");
    if (name === undefined) throw new Error("the package lists of this system know no libdnnl");
    const main = await tools.show(name);
    const missing = new Set(main.depends.filter((name) => name in COMPANIONS && !hasLibrary(COMPANIONS[name]!)));
    const packages = [main, ...(await Promise.all([...missing].map((companion) => tools.show(companion))))];
    for (const wanted of packages) {
      log(`downloading ${wanted.name} ${wanted.version}`);
      await tools.download(wanted, staging);
    }
    return packages;
  };
  try {
    return await attempt();
  } catch (error) {
    if (/is not installed$/.test((error as Error).message)) throw error;
    log(`${(error as Error).message}; updating the package lists in a folder of our own`);
    try {
      await tools.updateInto(join(staging, "apt"));
      return await attempt();
    } catch (second) {
      throw new Error(`${(error as Error).message}; with updated lists: ${(second as Error).message}`);
    }
  }

  function hasLibrary(soname: string): boolean {
    const triplet = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
    const folders = [...(env.LD_LIBRARY_PATH ?? "").split(":"), `/usr/lib/${triplet}`, `/lib/${triplet}`, "/usr/lib"];
    return folders.some((folder) => folder !== "" && existsSync(join(folder, soname)));
  }
}

async function unpack(wanted: AptPackage, staging: string, env: NonNullable<FetchOptions["env"]>): Promise<void> {
  const file = readdirSync(staging).find((name) => name.startsWith(`${wanted.name}_`) && name.endsWith(".deb"));
  if (file === undefined) throw new Error(`apt-get download left no ${wanted.name}_*.deb`);
  const sha256 = createHash("sha256")
    .update(readFileSync(join(staging, file)))
    .digest("hex");
  if (sha256 !== wanted.sha256) {
    throw new Error(
      `${file} is damaged or was tampered with: SHA256 ${sha256}, the package list says ${wanted.sha256}`,
    );
  }
  await runProgram("dpkg-deb", ["-x", join(staging, file), join(staging, wanted.name)], { env });
}

/** Copies the library with the shortest matching name, links followed, and returns the name. */
function copyLibrary(from: string, wanted: RegExp | string, to: string): string {
  const matches = (name: string): boolean => (typeof wanted === "string" ? name === wanted : wanted.test(name));
  const found = readdirSync(from, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && matches(entry.name))
    .sort((a, b) => a.name.length - b.name.length)[0];
  if (found === undefined) throw new Error(`the package holds no ${wanted}`);
  copyFileSync(realpathSync(join(found.parentPath, found.name)), join(to, found.name));
  return found.name;
}

/** Moves the checked folder into place at once, so that nobody ever sees half of it. */
function publish(
  built: string,
  target: string,
  name: string,
  verified: Extract<Verification, { ok: true }>,
  log: (line: string) => void,
): FetchResult {
  rmSync(target, { recursive: true, force: true });
  renameSync(built, target);
  const path = join(target, name);
  log(`oneDNN ${verified.library.version} lies in ${path}`);
  return { ok: true, path, version: verified.library.version, fetched: true };
}
