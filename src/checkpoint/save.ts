// Saving a checkpoint: everything streams into a folder beside the target, which takes its place only when it is complete
// and on the disk. Until then the checkpoint before stays as it is.
import { mkdir, readFile, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { bytesOfDType } from "./dtype.ts";
import { asCheckpointError, CheckpointError } from "./error.ts";
import { hashFile, syncFolder, writeSynced } from "./files.ts";
import { prepareTarget, siblingsOf, swapIn } from "./folders.ts";
import { assertJson } from "./json.ts";
import { encodeManifest, MANIFEST, type ManifestTable, newManifest, STATE } from "./manifest.ts";
import { writeTensors } from "./safetensors.ts";
import { bytesOfRow, writeTable } from "./table-files.ts";
import type { CheckpointContents, SaveOptions, TableSource, TensorSource } from "./types.ts";

const MAX_FILE_BYTES = 2 ** 31;
const saving = new Set<string>();

/**
 * Saves a checkpoint as the folder `path`, in place of the one that may be there. Data is read once, front to back, in
 * pieces; what changes meanwhile (Hogwild threads that go on) may be saved as before or after, never torn within a number.
 * @throws CheckpointError when `path` holds something else, a source breaks its shape, or the disk fails; then the
 * checkpoint that was there is still there.
 * @example await saveCheckpoint("runs/ctr/checkpoint", { tensors, tables, state: { step: 1000 } })
 */
export async function saveCheckpoint(
  path: string,
  contents: CheckpointContents,
  options: SaveOptions = {},
): Promise<void> {
  const target = resolve(path);
  const maxFileBytes = options.maxFileBytes ?? MAX_FILE_BYTES;
  if (!(maxFileBytes >= 4096)) throw new RangeError(`maxFileBytes must be at least 4096, got ${maxFileBytes}`);
  assertJson(contents.state ?? null, "state");
  if (saving.has(target)) throw new CheckpointError(target, "is being saved already; wait for that save to end");
  saving.add(target);
  const { temporary, old } = siblingsOf(target);
  try {
    await prepareTarget(target);
    await mkdir(temporary);
    await writeContents(temporary, contents, maxFileBytes, options);
    await swapIn(temporary, target, old);
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true });
    throw asCheckpointError(target, "cannot be saved (the checkpoint before, if any, is unchanged)", cause);
  } finally {
    saving.delete(target);
  }
}

async function writeContents(
  folder: string,
  contents: CheckpointContents,
  maxFileBytes: number,
  options: SaveOptions,
): Promise<void> {
  const tensors = [...(contents.tensors ?? [])];
  const tables = [...(contents.tables ?? [])];
  const totalBytes = sizeOf(tensors, tables);
  let bytes = 0;
  const onBytes = (more: number): void => {
    bytes += more;
    options.onProgress?.({ bytes, totalBytes });
  };
  const dense = splitTensors(tensors, maxFileBytes);
  const denseNames = dense.map((_, i) => denseName(i + 1, dense.length));
  for (const [i, group] of dense.entries()) {
    await writeTensors(join(folder, denseNames[i]!), group, { format: "pt" }, onBytes);
  }
  const savedTables: ManifestTable[] = [];
  for (const table of tables) {
    if (savedTables.some(({ name }) => name === table.name)) {
      throw new CheckpointError(folder, `two tables are named "${table.name}"; every table needs a name of its own`);
    }
    savedTables.push(await writeTable(folder, table, maxFileBytes, onBytes));
  }
  await options.beside?.(folder);
  await writeSynced(join(folder, STATE), `${JSON.stringify(contents.state ?? null, null, 2)}\n`);

  const files = [];
  for (const name of [STATE, ...denseNames, ...savedTables.flatMap((table) => table.files.map((file) => file.name))]) {
    const file = join(folder, name);
    files.push({ name, bytes: (await stat(file)).size, sha256: await hashFile(file) });
  }
  const manifest = newManifest({
    tool: await toolVersion(),
    createdAt: new Date().toISOString(),
    files,
    tensors: denseNames,
    tables: savedTables,
  });
  await writeSynced(join(folder, MANIFEST), encodeManifest(manifest));
  await syncFolder(folder);
}

function sizeOf(tensors: readonly TensorSource[], tables: readonly TableSource[]): number {
  const dense = tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  return tables.reduce((sum, table) => sum + table.rows * bytesOfRow(table.columns), dense);
}

function bytesOf({ dtype, shape }: TensorSource): number {
  return shape.reduce((product, size) => product * size, bytesOfDType[dtype]);
}

/** Groups of tensors that fit a file; a larger one has a file of its own. At least one group, so that the file exists. */
function splitTensors(tensors: readonly TensorSource[], maxFileBytes: number): TensorSource[][] {
  const seen = new Set<string>();
  const groups: TensorSource[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    if (seen.has(tensor.name))
      throw new Error(`two tensors are named "${tensor.name}"; every tensor needs a name of its own`);
    seen.add(tensor.name);
    if (bytes > 0 && bytes + bytesOf(tensor) > maxFileBytes) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)!.push(tensor);
    bytes += bytesOf(tensor);
  }
  return groups;
}

function denseName(index: number, count: number): string {
  const digits = (n: number): string => String(n).padStart(5, "0");
  return count === 1 ? "dense.safetensors" : `dense-${digits(index)}-of-${digits(count)}.safetensors`;
}

async function toolVersion(): Promise<string> {
  const { name, version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
  return `${name} ${version}`;
}
