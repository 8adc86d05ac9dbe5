// Collects the nodes and constants of an ONNX graph under names that do not clash.
import { type Attribute, ElementType, type Initializer, type Node } from "./proto.ts";

export class GraphBuilder {
  readonly nodes: Node[] = [];
  readonly initializers: Initializer[] = [];
  readonly #constants = new Map<string, string>();
  /** Prefix of the names of nodes to come: the model's scope. */
  scope = "";

  /** A node with one output, whose name is returned. */
  node(type: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    return this.nodeOf(type, inputs, 1, attributes)[0]!;
  }

  nodeOf(
    type: string,
    inputs: readonly string[],
    outputs: number,
    attributes: Readonly<Record<string, Attribute>> = {},
  ): string[] {
    const name = `${this.scope === "" ? "" : `${this.scope}/`}${type}_${this.nodes.length}`;
    const names = Array.from({ length: outputs }, (_, i) => `${name}:${i}`);
    this.nodes.push({ type, name, inputs: [...inputs], outputs: names, attributes });
    return names;
  }

  /** An f32 number. */
  number(value: number): string {
    return this.#constant(`number ${Object.is(value, -0) ? "-0" : value}`, [], Float32Array.of(value));
  }

  /** A list of int64, as shapes and axes are given. */
  integers(values: readonly number[]): string {
    return this.#constant(`integers ${values}`, [values.length], BigInt64Array.from(values, BigInt));
  }

  /** f32 [size, 1, …]: 0 to size − 1 along the axis that has so many axes behind it. */
  indices(size: number, behind: number): string {
    const shape = [size, ...Array.from({ length: behind }, () => 1)];
    return this.#constant(
      `indices ${shape}`,
      shape,
      Float32Array.from({ length: size }, (_, i) => i),
    );
  }

  /** Removes nodes and constants that the named values do not need. */
  keep(names: readonly string[]): void {
    const needed = new Set(names);
    const nodes = this.nodes.toReversed().filter(({ inputs, outputs }) => {
      if (!outputs.some((name) => needed.has(name))) return false;
      for (const name of inputs) needed.add(name);
      return true;
    });
    this.nodes.splice(0, this.nodes.length, ...nodes.toReversed());
    const constants = this.initializers.filter(({ name }) => needed.has(name));
    this.initializers.splice(0, this.initializers.length, ...constants);
  }

  tensor(name: string, shape: readonly number[], data: Float32Array): string {
    this.initializers.push({ name, type: ElementType.float, shape, bytes: bytesOf(data) });
    return name;
  }

  #constant(key: string, shape: readonly number[], data: Float32Array | BigInt64Array): string {
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = `constant:${this.#constants.size}`;
    this.#constants.set(key, name);
    const type = data instanceof Float32Array ? ElementType.float : ElementType.int64;
    this.initializers.push({ name, type, shape, bytes: bytesOf(data) });
    return name;
  }
}

/** A copy: parameters lie in shared memory, which goes on changing. */
const bytesOf = (data: ArrayBufferView): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
