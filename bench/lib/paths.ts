// Where benchmarks keep what they make: a folder that git ignores.

import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const build = join(dirname(fileURLToPath(import.meta.url)), "../../build");

/** Path of a scratch file. */
export function scratchFile(name: string): string {
  const folder = join(build, "bench");
  mkdirSync(folder, { recursive: true });
  return join(folder, name);
}

/** Folder of peers that npm installs on demand. */
export function peerFolder(name: string): string {
  const folder = join(build, "peers", name);
  mkdirSync(folder, { recursive: true });
  return folder;
}
