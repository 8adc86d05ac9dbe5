// Opening a checkpoint: the manifest says which files there must be, every one is checked before anything is believed.
import { readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { asCheckpointError, CheckpointError } from "./error.ts";
import { hashFile } from "./files.ts";
import { locateCheckpoint } from "./folders.ts";
import { type ManifestBody, readManifest, STATE } from "./manifest.ts";
import { SafetensorsFile } from "./safetensors.ts";
import { openTable } from "./table-files.ts";
import type { JsonValue, OpenOptions, SavedTable, TensorInfo } from "./types.ts";

const HELP = "restore the file from a copy, or use another checkpoint";

/** An open checkpoint. Close it, or declare it with `await using`. */
export class Checkpoint {
  /** The folder that is read. */
  readonly path: string;
  /** Name and version of the program that saved it, and when (ISO 8601). */
  readonly tool: string;
  readonly createdAt: string;
  readonly state: JsonValue;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly tables: ReadonlyMap<string, SavedTable>;
  readonly #files: readonly SafetensorsFile[];

  /** Use `openCheckpoint`. */
  constructor(path: string, manifest: ManifestBody, state: JsonValue, files: SafetensorsFile[], tables: SavedTable[]) {
    this.path = path;
    this.tool = manifest.tool;
    this.createdAt = manifest.createdAt;
    this.state = state;
    this.#files = files;
    this.tables = new Map(tables.map((table) => [table.name, table]));
    this.tensors = new Map(
      files.flatMap((file) =>
        [...file.tensors].map(
          ([name, { dtype, shape, byteLength }]) => [name, { name, dtype, shape, byteLength }] as const,
        ),
      ),
    );
  }

  /**
   * Fills `into` (a view of the tensor's type, or bytes; it may lie in shared memory) with a dense tensor.
   * @throws CheckpointError when there is no such tensor or `into` does not match it.
   */
  async readTensor(name: string, into: ArrayBufferView): Promise<void> {
    const file = this.#files.find(({ tensors }) => tensors.has(name));
    if (file === undefined) {
      throw new CheckpointError(
        this.path,
        `has no tensor "${name}"; it has ${[...this.tensors.keys()].join(", ") || "none"}`,
      );
    }
    await file.read(name, into);
  }

  /** @throws CheckpointError when there is no such table. */
  table(name: string): SavedTable {
    const table = this.tables.get(name);
    if (table !== undefined) return table;
    throw new CheckpointError(
      this.path,
      `has no table "${name}"; it has ${[...this.tables.keys()].join(", ") || "none"}`,
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map((file) => file.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Opens the checkpoint in the folder `path`; after a crash in the middle of saving, the last complete one.
 * @throws CheckpointError when it is missing, truncated, damaged, of another program or of another version.
 * @example
 * await using checkpoint = await openCheckpoint("runs/ctr/checkpoint");
 * await checkpoint.readTensor("linear.weight", heap.f32(pointer, 1024));
 * for await (const { keys, columns } of checkpoint.table("features").chunks()) table.import(keys, columns);
 */
export async function openCheckpoint(path: string, options: OpenOptions = {}): Promise<Checkpoint> {
  const folder = await locateCheckpoint(resolve(path));
  const manifest = await readManifest(folder);
  await checkFiles(folder, manifest, options);
  const state = await readState(folder, manifest);
  const files: SafetensorsFile[] = [];
  try {
    for (const name of manifest.tensors) {
      requireListed(folder, manifest, name);
      files.push(await SafetensorsFile.open(join(folder, name)));
    }
    const tables: SavedTable[] = [];
    for (const table of manifest.tables) {
      for (const { name } of table.files) requireListed(folder, manifest, name);
      tables.push(await openTable(folder, table));
    }
    return new Checkpoint(folder, manifest, state, files, tables);
  } catch (cause) {
    await Promise.all(files.map((file) => file.close()));
    throw asCheckpointError(folder, "cannot be opened", cause);
  }
}

async function checkFiles(
  folder: string,
  manifest: ManifestBody,
  { verify = true, onProgress }: OpenOptions,
): Promise<void> {
  for (const { name, bytes } of manifest.files) {
    const path = join(folder, name);
    const found = await stat(path).catch((cause) => {
      throw new CheckpointError(path, `is missing though the manifest lists it; ${HELP}`, { cause });
    });
    if (found.size !== bytes) {
      const fault = found.size < bytes ? "is truncated" : "has grown";
      throw new CheckpointError(path, `${fault}: it has ${found.size} bytes, the manifest says ${bytes}; ${HELP}`);
    }
  }
  if (!verify) return;
  const totalBytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  let bytes = 0;
  for (const { name, sha256 } of manifest.files) {
    const path = join(folder, name);
    const found = await hashFile(path, (more) => {
      bytes += more;
      onProgress?.({ bytes, totalBytes });
    });
    if (found !== sha256) {
      throw new CheckpointError(path, `is damaged: its SHA-256 is ${found}, the manifest says ${sha256}; ${HELP}`);
    }
  }
}

function requireListed(folder: string, manifest: ManifestBody, name: string): void {
  if (!manifest.files.some((file) => file.name === name)) {
    throw new CheckpointError(folder, `its manifest uses ${name} without listing it; ${HELP}`);
  }
}

async function readState(folder: string, manifest: ManifestBody): Promise<JsonValue> {
  requireListed(folder, manifest, STATE);
  const path = join(folder, STATE);
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw new CheckpointError(path, `is not JSON; ${HELP}`, { cause });
  }
}
