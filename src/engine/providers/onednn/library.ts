// Loads oneDNN into this thread: one library thread for each of ours, and the library stays loaded until the process ends.
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import koffi, { type LibraryHandle } from "koffi";
import type { Dialect } from "./dialect.ts";
import { type Environment, locateOneDnn } from "./locate.ts";
import { type Handle, type Native, nativeInterface } from "./native.ts";
import { dialectV2 } from "./v2.ts";
import { dialectV3 } from "./v3.ts";

/** oneDNN as one thread uses it. */
export interface OneDnn {
  readonly path: string;
  readonly native: Native;
  readonly dialect: Dialect;
  readonly engine: Handle;
  readonly stream: Handle;
  /** Whether the library's own threading could be set to one thread. */
  readonly singleThreaded: boolean;
}

const RTLD_NOW = 2;
const RTLD_NODELETE = process.platform === "darwin" ? 0x80 : 0x1000;
const opened = new Map<string, OneDnn>();

/**
 * Opens the library at `path`, once a thread.
 * @throws when it cannot be loaded or is not oneDNN 2 or 3.
 */
export function openOneDnn(path: string): OneDnn {
  let session = opened.get(path);
  if (session === undefined) {
    session = open(path);
    opened.set(path, session);
  }
  return session;
}

function open(path: string): OneDnn {
  if (!existsSync(path)) throw new Error(`oneDNN: there is no ${path}; see \`flotilla doctor\``);
  for (const companion of companions(path)) pin(companion);
  pin(path);
  const library = koffi.load(path);
  const singleThreaded = setOneThread(library);
  const native = nativeInterface(library);
  if (native.major !== 2 && native.major !== 3) {
    throw new Error(`oneDNN: ${path} has version ${native.version}, supported are 2.x and 3.x`);
  }
  const engine = native.createEngine();
  return {
    path,
    native,
    dialect: native.major === 2 ? dialectV2(native) : dialectV3(native),
    engine,
    stream: native.createStream(engine),
    singleThreaded,
  };
}

/** Libraries that `doctor --fix` fetched along, needed where the system lacks them. */
function companions(path: string): string[] {
  const folder = join(dirname(path), "needed");
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
}

/** The OpenMP runtime crashes at exit when it is unloaded while its threads live: keep what we load. */
function pin(path: string): void {
  const system = koffi.load(null);
  const dlopen = system.func("dlopen", "void*", ["str", "int"]);
  if (dlopen(path, RTLD_NOW | RTLD_NODELETE) !== null) return;
  const reason = system.func("dlerror", "str", [])();
  throw new Error(`oneDNN: cannot load ${path}: ${reason}`);
}

/** Through the library's handle the linker finds the OpenMP runtime that it was linked to, whichever that is. */
function setOneThread(library: LibraryHandle): boolean {
  try {
    library.func("omp_set_num_threads", "void", ["int"])(1);
    return true;
  } catch {
    return false;
  }
}

export interface Opened {
  readonly library?: OneDnn;
  /** Why a library that lies there was not taken, or that there is none. */
  readonly problems: readonly string[];
}

/** The first library found that can be loaded. */
export function findOneDnn(env: Environment = process.env): Opened {
  const problems: string[] = [];
  for (const path of locateOneDnn(env)) {
    try {
      return { library: openOneDnn(path), problems };
    } catch (error) {
      problems.push((error as Error).message);
    }
  }
  if (problems.length === 0) problems.push("oneDNN is not installed");
  return { problems };
}
