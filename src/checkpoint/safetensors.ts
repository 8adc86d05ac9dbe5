// Files in the safetensors format, written from and read into views in pieces: PyTorch, JAX and others read them too.
import { type FileHandle, open } from "node:fs/promises";
import { viewFitsDType } from "./dtype.ts";
import { asCheckpointError, CheckpointError } from "./error.ts";
import { bytesOfView, type OnBytes, RegionWriter, readAll, replaceFile, writeAll } from "./files.ts";
import { encodeHeader, headerLength, parseHeader, type TensorEntry } from "./safetensors-header.ts";
import type { TensorData, TensorSource } from "./types.ts";

/**
 * Writes tensors to a new file at `path`, replacing one that is there only when the new one is complete.
 * @throws CheckpointError when a name comes twice or a tensor's data does not fill its shape.
 * @example await writeSafetensors("model.safetensors", [{ name: "w", dtype: "F32", shape: [2, 3], data: weights }])
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorSource>,
  options: { metadata?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  await replaceFile(path, (temporary) =>
    writeTensors(temporary, [...tensors], options.metadata ?? { format: "pt" }, () => {}),
  );
}

/** Writes and syncs one file. */
export async function writeTensors(
  path: string,
  tensors: readonly TensorSource[],
  metadata: Readonly<Record<string, string>>,
  onBytes: OnBytes,
): Promise<void> {
  const header = encodeHeader(path, tensors, metadata);
  const file = await open(path, "w");
  try {
    await writeAll(file, header.bytes, 0);
    for (const { name, data } of tensors) {
      const label = `tensor "${name}"`;
      const writer = new RegionWriter(file, { path, label, ...header.tensors.get(name)!, onBytes });
      for await (const view of viewsOf(data)) await writer.write(view);
      await writer.finish();
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

function viewsOf(data: TensorData): Iterable<ArrayBufferView> | AsyncIterable<ArrayBufferView> {
  return ArrayBuffer.isView(data) ? [data] : data;
}

/** An open safetensors file. Close it, or declare it with `await using`. */
export class SafetensorsFile {
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly #file: FileHandle;

  private constructor(
    path: string,
    file: FileHandle,
    header: { metadata: Readonly<Record<string, string>>; tensors: ReadonlyMap<string, TensorEntry> },
  ) {
    this.path = path;
    this.#file = file;
    this.metadata = header.metadata;
    this.tensors = header.tensors;
  }

  /** Reads and checks the header only. @throws CheckpointError when the file is missing, damaged or of another format. */
  static async open(path: string): Promise<SafetensorsFile> {
    let file: FileHandle;
    try {
      file = await open(path, "r");
    } catch (cause) {
      throw asCheckpointError(path, "cannot be opened", cause);
    }
    try {
      const { size } = await file.stat();
      const prefix = new Uint8Array(Math.min(8, size));
      await readAll(file, path, prefix, 0);
      const json = new Uint8Array(headerLength(path, prefix, size));
      await readAll(file, path, json, 8);
      return new SafetensorsFile(path, file, parseHeader(path, json, size));
    } catch (cause) {
      await file.close();
      throw asCheckpointError(path, "cannot be read", cause);
    }
  }

  /** @throws CheckpointError when there is no such tensor; lists those that there are. */
  entry(name: string): TensorEntry {
    const entry = this.tensors.get(name);
    if (entry !== undefined) return entry;
    const names = [...this.tensors.keys()];
    const listed =
      names.length > 10 ? `${names.slice(0, 10).join(", ")} and ${names.length - 10} more` : names.join(", ");
    throw new CheckpointError(this.path, `has no tensor "${name}"; it has ${listed || "none"}`);
  }

  /**
   * Fills `into` with the tensor's elements from `firstElement` on; without it, `into` must be the whole tensor.
   * @throws CheckpointError when `into` has another type or more elements.
   */
  async read(name: string, into: ArrayBufferView, firstElement?: number): Promise<void> {
    const entry = this.entry(name);
    const elements = entry.shape.reduce((product, size) => product * size, 1);
    const start = elements === 0 ? 0 : (entry.byteLength / elements) * (firstElement ?? 0);
    const fits =
      firstElement === undefined ? into.byteLength === entry.byteLength : start + into.byteLength <= entry.byteLength;
    if (!viewFitsDType(into, entry.dtype) || !fits) {
      throw new CheckpointError(
        this.path,
        `tensor "${name}" is ${entry.dtype} [${entry.shape}], ${entry.byteLength} bytes; it cannot be read into a ` +
          `${into.constructor.name} of ${into.byteLength} bytes${firstElement === undefined ? "" : ` from element ${firstElement} on`}`,
      );
    }
    await readAll(this.#file, this.path, bytesOfView(into), entry.offset + start);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
