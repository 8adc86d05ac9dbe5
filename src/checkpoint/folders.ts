// How a checkpoint takes the place of the one before without a moment in which there is none: it is written beside it, the
// old one steps aside by a rename, the new one steps in by a rename. A crash between leaves a complete folder to find.
import { access, mkdir, readdir, rename, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { CheckpointError } from "./error.ts";
import { syncFolder } from "./files.ts";
import { isOurs, MANIFEST } from "./manifest.ts";

/** Tells savers apart: the machine and process, then a count. */
const OWNER = `${hostname().replaceAll(/[^\w-]/g, "_")}-${process.pid}`;
let saves = 0;

/** Names for the folder being written and for the one stepping aside. */
export function siblingsOf(target: string): { temporary: string; old: string } {
  const tag = `${OWNER}-${++saves}`;
  return { temporary: `${target}.tmp-${tag}`, old: `${target}.old-${tag}` };
}

/**
 * The folder that holds the checkpoint `target`: itself, or where a crash in the middle of a swap left it complete,
 * the new one before the old one.
 * @throws CheckpointError when there is none.
 */
export async function locateCheckpoint(target: string): Promise<string> {
  if (await exists(target)) return target;
  for (const kind of ["tmp", "old"] as const) {
    for (const folder of await siblings(target, kind)) {
      if (await exists(join(folder, MANIFEST))) return folder;
    }
  }
  throw new CheckpointError(target, "there is no such folder; check the path, or train with saving on");
}

/** Removes a checkpoint and everything that saving it may have left beside it, except by savers that still run. */
export async function removeCheckpoint(path: string): Promise<void> {
  const target = resolve(path);
  for (const kind of ["tmp", "old"] as const) await removeDead(target, kind);
  if (await exists(target)) await refuseForeign(target);
  await rm(target, { recursive: true, force: true });
}

/** Gets ready to write beside `target`: mends a swap that a crash cut, clears what dead savers left. */
export async function prepareTarget(target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true });
  if (!(await exists(target))) {
    const found = await locateCheckpoint(target).catch(() => undefined);
    if (found !== undefined) await rename(found, target);
  } else {
    await refuseForeign(target);
  }
  for (const kind of ["tmp", "old"] as const) await removeDead(target, kind);
}

async function removeDead(target: string, kind: "tmp" | "old"): Promise<void> {
  for (const folder of await siblings(target, kind)) {
    if (!ownerLives(folder)) await rm(folder, { recursive: true, force: true });
  }
}

/** Puts the complete folder `temporary` in the place of `target`. */
export async function swapIn(temporary: string, target: string, old: string): Promise<void> {
  const replaces = await exists(target);
  if (replaces) await rename(target, old);
  try {
    await rename(temporary, target);
  } catch (cause) {
    if (replaces) await rename(old, target);
    throw cause;
  }
  await syncFolder(dirname(target));
  if (replaces) await rm(old, { recursive: true, force: true });
}

async function refuseForeign(target: string): Promise<void> {
  const entries = await readdir(target).catch((cause: NodeJS.ErrnoException) => {
    throw new CheckpointError(target, "is a file; a checkpoint is a folder, use another name", { cause });
  });
  if (entries.length === 0) return;
  if (!entries.includes(MANIFEST)) {
    throw new CheckpointError(target, "holds other files, so it is left alone; use another name");
  }
  if (!(await isOurs(join(target, MANIFEST)))) {
    throw new CheckpointError(target, `has a ${MANIFEST} of another program, so it is left alone; use another name`);
  }
}

async function siblings(target: string, kind: "tmp" | "old"): Promise<string[]> {
  const prefix = `${basename(target)}.${kind}-`;
  const names = await readdir(dirname(target)).catch(() => []);
  return names
    .filter((name) => name.startsWith(prefix))
    .sort()
    .reverse()
    .map((name) => join(dirname(target), name));
}

/** Whether the process that made a sibling still runs. One of another machine is left alone: we cannot know. */
function ownerLives(folder: string): boolean {
  const owner = /\.(?:tmp|old)-(.+)-(\d+)-\d+$/.exec(folder);
  if (owner === null || owner[1] !== OWNER.slice(0, OWNER.lastIndexOf("-"))) return true;
  const pid = Number(owner[2]);
  if (pid === process.pid) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
