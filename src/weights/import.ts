// Weights of other libraries into the parameters of a program: finds each by name, checks all before the first is changed,
// then reads them block by block.
import { CheckpointError, type SafetensorsFile } from "../checkpoint/index.ts";
import { fromBf16 } from "../kernels/half.ts";
import { formatType, type Program, type Shape, sameShape, sizeOf } from "../program/ir.ts";
import { blocksOf } from "./blocks.ts";
import { copyStrided, stridesOf } from "./copy.ts";
import { type StoredTensor, WeightFiles } from "./files.ts";
import { asIs, type Layout, torchLayouts } from "./layout.ts";
import { type NamingOptions, naming, type WeightSource } from "./names.ts";

export interface ImportOptions extends NamingOptions {
  /**
   * Refuse files that lack parameters or have tensors besides; default true. Otherwise what fits is read, and only a file
   * that has none of the parameters is refused.
   */
  readonly strict?: boolean;
}

export interface ImportReport {
  /** Our names, by which parameters were read. */
  readonly imported: readonly string[];
  /** Our names of parameters that the file has not: they are as they were. */
  readonly missing: readonly string[];
  /** Names of the file's tensors that no parameter takes. */
  readonly unexpected: readonly string[];
}

interface Reading {
  readonly name: string;
  readonly source: WeightSource;
  readonly stored: StoredTensor;
  readonly layout: Layout;
}

const READABLE = ["F32", "F16", "BF16", "F64"];

/**
 * Reads safetensors files with the names and layouts of PyTorch into the parameters of a program.
 * @param path a file, an index of several (`model.safetensors.index.json`), or a folder with an index or one file
 * @param program as traced, before any pass
 * @param parameter the numbers of a parameter [its shape], which are replaced
 * @throws CheckpointError for a damaged file, tensors of another shape or type and, when strict, missing and unexpected
 * ones; nothing is changed then. TypeError for a wrong option.
 * @example await importWeights("resnet50.safetensors", program, (name) => weights[name]!);
 */
export async function importWeights(
  path: string,
  program: Program,
  parameter: (name: string) => Float32Array,
  options: ImportOptions = {},
): Promise<ImportReport> {
  const { strict = true, format: _format, names: _names, ...unknown } = options;
  const [wrong] = Object.keys(unknown);
  if (wrong !== undefined) throw new TypeError(`weights: unknown option "${wrong}"; allowed: format, names, strict`);
  const { sources, ignored } = naming(options);
  await using files = await WeightFiles.open(path);
  const readings: Reading[] = [];
  const missing: { name: string; wanted: string }[] = [];
  for (const [name, layout] of torchLayouts(program)) {
    const candidates = sources(name);
    const source = candidates.find((candidate) => files.tensors.has(candidate.name));
    const stored = source && files.tensors.get(source.name);
    if (source === undefined || stored === undefined) {
      missing.push({ name, wanted: candidates.map((candidate) => candidate.name).join(" or ") });
      continue;
    }
    const ours = program.values[program.parameters[name]!.value]!;
    const reading = { name, source, stored, layout: source.asIs ? asIs(ours.shape) : layout };
    expectFit(reading, formatType(ours));
    readings.push(reading);
  }
  const taken = new Set(readings.map(({ source }) => source.name));
  const unexpected = [...files.tensors.keys()].filter((name) => !taken.has(name) && !ignored.test(name));
  const nothing = readings.length === 0 && missing.length > 0;
  if (nothing || (strict && missing.length + unexpected.length > 0)) {
    const faults = [
      listed(missing, "lacks", ({ name, wanted }) => `${wanted} (parameter ${name})`),
      listed(unexpected, "has besides", (name) => name),
    ];
    throw new CheckpointError(
      files.path,
      `${faults.filter((fault) => fault !== "").join("; it ")}. Check \`format\` and \`names\`${nothing ? "" : ", or take what fits with strict: false"}`,
    );
  }
  for (const reading of readings) await read(reading, parameter(reading.name));
  return { imported: readings.map(({ name }) => name), missing: missing.map(({ name }) => name), unexpected };
}

function listed<T>(things: readonly T[], verb: string, show: (thing: T) => string): string {
  if (things.length === 0) return "";
  const rest = things.length > 8 ? ` and ${things.length - 8} more` : "";
  return `${verb} ${things.slice(0, 8).map(show).join(", ")}${rest}`;
}

function expectFit({ name, source, stored, layout }: Reading, ours: string): void {
  const { entry } = stored;
  const { path } = stored.file;
  if (!READABLE.includes(entry.dtype)) {
    throw new CheckpointError(
      path,
      `tensor "${source.name}" is ${entry.dtype}, parameter ${name} takes ${READABLE.join(", ")}`,
    );
  }
  const { part } = source;
  if (
    part !== undefined &&
    !(Number.isInteger(part.of) && Number.isInteger(part.index) && part.index >= 0 && part.index < part.of)
  ) {
    throw new TypeError(`weights: names gives part ${part.index} of ${part.of} for ${name}; parts count from 0`);
  }
  const wanted: Shape =
    part === undefined ? layout.shape : [(layout.shape[0] ?? 1) * part.of, ...layout.shape.slice(1)];
  if (sameShape(wanted, entry.shape)) return;
  throw new CheckpointError(
    path,
    `tensor "${source.name}" at byte ${entry.offset} has the shape [${entry.shape}], parameter ${name} ${ours} needs [${wanted}]${part === undefined ? "" : ` for ${part.of} parts`}`,
  );
}

async function read({ source, stored, layout }: Reading, target: Float32Array): Promise<void> {
  const { file, entry } = stored;
  const start = (source.part?.index ?? 0) * sizeOf(layout.shape);
  if (entry.dtype === "F32" && layout.perm.every((axis, i) => axis === i)) {
    await file.read(source.name, target, start);
    return;
  }
  for (const { shape, first, elements, offset, strides } of blocksOf(layout)) {
    const data = await readFloats(file, source.name, entry.dtype, start + first, elements);
    copyStrided(shape, { data, offset: 0, strides: stridesOf(shape) }, { data: target, offset, strides });
  }
}

/** Numbers of any type, as f32. */
async function readFloats(
  file: SafetensorsFile,
  name: string,
  dtype: string,
  first: number,
  elements: number,
): Promise<Float32Array> {
  const into = <T extends ArrayBufferView>(view: T): Promise<T> => file.read(name, view, first).then(() => view);
  switch (dtype) {
    case "F64":
      return new Float32Array(await into(new Float64Array(elements)));
    case "F16":
      return new Float32Array(await into(new Float16Array(elements)));
    case "BF16": {
      const bits = await into(new Uint8Array(2 * elements));
      return fromBf16(new Uint16Array(bits.buffer));
    }
    default:
      return into(new Float32Array(elements));
  }
}
