// What the compiler works on: a graph of SIMD instructions in which equal nodes exist once, so that common parts of a
// kernel's expressions are computed once. Each node knows whether its lanes differ and in which loop it can change.
import { type SimdOp, simd } from "./wasm.ts";

/** A node's place in the graph; arguments have lower numbers than their users. */
export type NodeId = number;

export type Node = {
  /** Whether the four lanes differ; if not, the node is computed outside of the loop over lanes. */
  readonly varies: boolean;
  /** How many of the loops around it the node depends on: 0 = computed once a call. */
  readonly level: number;
  /** How many passes over the row must be over before the node can be computed; 0 outside of rows kernels. */
  readonly phase: number;
  readonly args: readonly NodeId[];
} & (
  | {
      readonly kind: "load";
      readonly operand: number;
      /** Whether an element is in the upper half of its lane, as a bf16 number is as f32; else zeros extend it. */
      readonly upper: boolean;
    }
  /** A number that counts elements, as i32. */
  | { readonly kind: "counter"; readonly counter: number }
  /** What a pass over the row gave. */
  | { readonly kind: "stage"; readonly stage: number }
  /** The same 32 bits in every lane. */
  | { readonly kind: "const"; readonly bits: number }
  | { readonly kind: "simd"; readonly op: SimdOp; readonly shift?: number }
  | { readonly kind: "rowMean" }
);

/** How an operand or a counter changes with the lane and the loops. */
export type OperandUse = Pick<Node, "varies" | "level">;

const floats = new Float32Array(1);
const words = new Uint32Array(floats.buffer);
const bitsOf = (value: number): number => {
  floats[0] = value;
  return words[0]!;
};

const commutative: ReadonlySet<SimdOp> = new Set([simd.add, simd.mul, simd.and, simd.or, simd.xor, simd.i32Add]);

export class Graph {
  readonly nodes: Node[] = [];
  readonly #known = new Map<string, NodeId>();
  readonly #operands: readonly OperandUse[];
  readonly #counters: readonly OperandUse[];

  /** How each operand and each counter of the expressions varies. */
  constructor(operands: readonly OperandUse[], counters: readonly OperandUse[] = []) {
    this.#operands = operands;
    this.#counters = counters;
  }

  load(operand: number, upper = false): NodeId {
    const use = this.#operands[operand]!;
    const key = `load ${operand}${upper ? " upper" : ""}`;
    return this.#intern(key, () => ({ kind: "load", operand, upper, args: [], phase: 0, ...use }));
  }

  counter(counter: number): NodeId {
    const use = this.#counters[counter]!;
    return this.#intern(`counter ${counter}`, () => ({ kind: "counter", counter, args: [], phase: 0, ...use }));
  }

  /** The result of a pass over the row that computes `root`, the same in each lane; it changes in the innermost of the loops. */
  stage(stage: number, root: NodeId, level: number): NodeId {
    const phase = this.nodes[root]!.phase + 1;
    return this.#intern(`stage ${stage}`, () => ({ kind: "stage", stage, args: [], varies: false, level, phase }));
  }

  /** An f32 number. */
  f32(value: number): NodeId {
    return this.bits(bitsOf(value));
  }

  /** 32 bits as they are. */
  bits(value: number): NodeId {
    const bits = value >>> 0;
    return this.#intern(`const ${bits}`, () => ({ kind: "const", bits, args: [], varies: false, level: 0, phase: 0 }));
  }

  /** Whether the node is the f32 constant `value`. */
  is(id: NodeId, value: number): boolean {
    const node = this.nodes[id]!;
    return node.kind === "const" && node.bits === bitsOf(value);
  }

  isConstant(id: NodeId): boolean {
    return this.nodes[id]!.kind === "const";
  }

  /** An instruction on vectors. */
  op(op: SimdOp, ...args: NodeId[]): NodeId {
    if (commutative.has(op)) args.sort((a, b) => a - b);
    return this.#intern(`${op} ${args}`, () => ({ kind: "simd", op, args, ...this.#use(args) }));
  }

  /** A shift of i32 lanes by a constant. */
  shift(op: typeof simd.shl | typeof simd.shrS | typeof simd.shrU, x: NodeId, shift: number): NodeId {
    return this.#intern(`${op} ${x} by ${shift}`, () => ({ kind: "simd", op, shift, args: [x], ...this.#use([x]) }));
  }

  /** The mean of a node over the lanes of the row: the same in each lane, so a node that does not vary is its own. */
  rowMean(x: NodeId): NodeId {
    if (!this.nodes[x]!.varies) return x;
    return this.#intern(`rowMean ${x}`, () => ({ kind: "rowMean", args: [x], varies: false, level: 1, phase: 0 }));
  }

  /** The nodes from which others are computed, these included, but nothing beyond those at which it is to stop. */
  reach(roots: readonly NodeId[], stop: (id: NodeId) => boolean): NodeId[] {
    const met = new Set<NodeId>();
    const visit = (id: NodeId): void => {
      if (met.has(id)) return;
      met.add(id);
      if (stop(id)) return;
      for (const arg of this.nodes[id]!.args) visit(arg);
    };
    for (const root of roots) visit(root);
    return [...met];
  }

  #use(args: readonly NodeId[]): OperandUse & Pick<Node, "phase"> {
    const nodes = args.map((arg) => this.nodes[arg]!);
    return {
      varies: nodes.some(({ varies }) => varies),
      level: Math.max(0, ...nodes.map(({ level }) => level)),
      phase: Math.max(0, ...nodes.map(({ phase }) => phase)),
    };
  }

  #intern(key: string, make: () => Node): NodeId {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const id = this.nodes.push(make()) - 1;
    this.#known.set(key, id);
    return id;
  }
}
