// Parameters of a program as a safetensors file with the names and layouts of PyTorch: the inverse of the import.
import { CheckpointError, type TensorSource, writeSafetensors } from "../checkpoint/index.ts";
import { type Program, sizeOf } from "../program/ir.ts";
import { blocksOf } from "./blocks.ts";
import { copyStrided, stridesOf } from "./copy.ts";
import { asIs, type Layout, torchLayouts } from "./layout.ts";
import { type NamingOptions, naming } from "./names.ts";

interface Part {
  readonly name: string;
  readonly layout: Layout;
  readonly index: number;
  readonly of: number;
}

/**
 * Writes the parameters of a program, as traced, to a safetensors file that PyTorch's `load_state_dict` takes; an older
 * file is only replaced by a complete one.
 * @throws CheckpointError when two parameters have one name, parts are missing, or the file cannot be written
 */
export async function exportWeights(
  path: string,
  program: Program,
  parameter: (name: string) => Float32Array,
  options: NamingOptions = {},
): Promise<void> {
  const { format: _format, names: _names, ...unknown } = options;
  const [wrong] = Object.keys(unknown);
  if (wrong !== undefined) throw new TypeError(`weights: unknown option "${wrong}"; allowed: format, names`);
  const { sources } = naming(options);
  const tensors = new Map<string, Part[]>();
  for (const [name, layout] of torchLayouts(program)) {
    const [source] = sources(name);
    if (source === undefined) throw new TypeError(`weights: names gives no name for parameter ${name}`);
    const { index, of } = source.part ?? { index: 0, of: 1 };
    const ours = program.values[program.parameters[name]!.value]!.shape;
    const part = { name, layout: source.asIs ? asIs(ours) : layout, index, of };
    const others = tensors.get(source.name);
    if (others === undefined) tensors.set(source.name, [part]);
    else others.push(part);
  }
  await writeSafetensors(
    path,
    [...tensors].map(([name, parts]) => tensorOf(path, name, parts, parameter)),
  );
}

function tensorOf(
  path: string,
  name: string,
  parts: readonly Part[],
  parameter: (name: string) => Float32Array,
): TensorSource {
  const ordered = parts.toSorted((a, b) => a.index - b.index);
  const [{ layout, of }] = ordered as [Part];
  const row = layout.shape.slice(1);
  const fits = (part: Part, i: number): boolean =>
    part.index === i && part.of === of && sizeOf(part.layout.shape.slice(1)) === sizeOf(row);
  if (ordered.length !== of || !ordered.every(fits)) {
    const given = ordered.map((part) => `${part.name} (part ${part.index} of ${part.of})`).join(", ");
    throw new CheckpointError(
      path,
      `tensor "${name}" would be made of ${given}; give each parameter a name, or all parts`,
    );
  }
  const rows = ordered.reduce((n, part) => n + (part.layout.shape[0] ?? 1), 0);
  const shape = of === 1 ? layout.shape : [rows, ...row];
  return { name, dtype: "F32", shape, data: numbersOf(ordered, parameter) };
}

/** The parts one after the other, as PyTorch lays them out. */
function* numbersOf(parts: readonly Part[], parameter: (name: string) => Float32Array): Generator<Float32Array> {
  for (const { name, layout } of parts) {
    const data = parameter(name);
    for (const { shape, elements, offset, strides } of blocksOf(layout)) {
      const block = new Float32Array(elements);
      copyStrided(shape, { data, offset, strides }, { data: block, offset: 0, strides: stridesOf(shape) });
      yield block;
    }
  }
}
