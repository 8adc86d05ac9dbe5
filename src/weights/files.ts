// The safetensors files of a model as one: a single file, or several with an index as Hugging Face writes them
// (model.safetensors.index.json beside model-00001-of-00003.safetensors and so on).
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { CheckpointError, SafetensorsFile, type TensorEntry } from "../checkpoint/index.ts";

/** A tensor and the file that has it. */
export interface StoredTensor {
  readonly file: SafetensorsFile;
  readonly entry: TensorEntry;
}

const INDEX = ".safetensors.index.json";
const FILE = ".safetensors";
/** Of an index; that of a model with a million tensors has less. */
const MAX_INDEX_BYTES = 100_000_000;

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** Open files with their tensors. Close them, or declare them with `await using`. */
export class WeightFiles {
  /** What was asked for: a file, or an index. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly #files: readonly SafetensorsFile[];

  private constructor(path: string, files: readonly SafetensorsFile[], tensors: ReadonlyMap<string, StoredTensor>) {
    this.path = path;
    this.#files = files;
    this.tensors = tensors;
  }

  /**
   * @param path a safetensors file, an index, or a folder with an index or one file
   * @throws CheckpointError for files that are missing or damaged, and for an index that they do not fit
   */
  static async open(path: string): Promise<WeightFiles> {
    const found = await within(path);
    if (!found.endsWith(".json")) {
      const file = await SafetensorsFile.open(found);
      return new WeightFiles(found, [file], new Map([...file.tensors].map(([name, entry]) => [name, { file, entry }])));
    }
    const map = await readIndex(found);
    const files = new Map<string, SafetensorsFile>();
    try {
      for (const name of new Set(map.values())) files.set(name, await openPart(found, name, map));
      return new WeightFiles(found, [...files.values()], joined(found, map, files));
    } catch (error) {
      await closeAll([...files.values()]);
      throw error;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return closeAll(this.#files);
  }
}

async function closeAll(files: readonly SafetensorsFile[]): Promise<void> {
  await Promise.all(files.map((file) => file.close()));
}

/** The file itself; of a folder its index, or its only safetensors file. */
async function within(path: string): Promise<string> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isFolder) return path;
  const names = (await readdir(path)).sort();
  const indices = names.filter((name) => name.endsWith(INDEX));
  const [only, ...others] = indices.length > 0 ? indices : names.filter((name) => name.endsWith(FILE));
  if (only === undefined) {
    throw new CheckpointError(path, "has no *.safetensors.index.json and no *.safetensors file; give another folder");
  }
  if (others.length > 0) {
    throw new CheckpointError(path, `has ${[only, ...others].join(", ")}; give the path of the one to read`);
  }
  return join(path, only);
}

/** The name of its file by tensor. */
async function readIndex(path: string): Promise<Map<string, string>> {
  let body: unknown;
  try {
    const { size } = await stat(path);
    if (size > MAX_INDEX_BYTES) throw new Error(`it has ${size} bytes, more than ${MAX_INDEX_BYTES}`);
    body = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw new CheckpointError(path, `is no readable index of safetensors files: ${(cause as Error).message}`, {
      cause,
    });
  }
  const parsed = indexSchema.safeParse(body);
  if (!parsed.success) {
    throw new CheckpointError(path, "is no index of safetensors files: it must have weight_map, file names by tensor");
  }
  const map = new Map(Object.entries(parsed.data.weight_map));
  for (const [tensor, file] of map) {
    if (!file.endsWith(FILE) || basename(file) !== file || file.includes("\\")) {
      throw new CheckpointError(
        path,
        `has tensor "${tensor}" in ${JSON.stringify(file)}; that must be the name of a *.safetensors file beside it`,
      );
    }
  }
  return map;
}

async function openPart(index: string, name: string, map: ReadonlyMap<string, string>): Promise<SafetensorsFile> {
  try {
    return await SafetensorsFile.open(join(dirname(index), name));
  } catch (cause) {
    const [first, ...others] = [...map].filter(([, file]) => file === name).map(([tensor]) => tensor);
    const rest = others.length > 0 ? ` and ${others.length} more` : "";
    throw new CheckpointError(index, `has tensor "${first}"${rest} in ${name}. ${(cause as Error).message}`, { cause });
  }
}

/** All tensors of the files, each once and where the index has it. */
function joined(
  index: string,
  map: ReadonlyMap<string, string>,
  files: ReadonlyMap<string, SafetensorsFile>,
): Map<string, StoredTensor> {
  for (const [tensor, name] of map) {
    if (!files.get(name)!.tensors.has(tensor)) {
      throw new CheckpointError(index, `has tensor "${tensor}" in ${name}, which lacks it; get the files anew`);
    }
  }
  const tensors = new Map<string, StoredTensor>();
  for (const [name, file] of files) {
    for (const [tensor, entry] of file.tensors) {
      const place = map.get(tensor) ?? name;
      const known = tensors.get(tensor);
      if (place === name && known === undefined) tensors.set(tensor, { file, entry });
      else {
        const elsewhere = known === undefined ? place : basename(known.file.path);
        throw new CheckpointError(
          file.path,
          `has tensor "${tensor}", which is in ${elsewhere} too; get the files anew`,
        );
      }
    }
  }
  return tensors;
}
