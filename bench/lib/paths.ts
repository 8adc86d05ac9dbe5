// Where benchmarks keep what they make: a folder that git ignores.

import { closeSync, mkdirSync, openSync, renameSync } from "node:fs";
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

/** Writes a file under another name and then gives it its own, so that a benchmark that reads the old one is not upset. */
export function replaceFile(path: string, write: (file: number) => void): void {
  const draft = `${path}.${process.pid}`;
  const file = openSync(draft, "w");
  try {
    write(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
}
