// Emits a graph's nodes as instructions: what varies from lane to lane once a vector, everything else in front of the
// outermost loop in which it stays the same.
import type { Counter } from "./counters.ts";
import type { Graph, Node, NodeId } from "./graph.ts";
import { type ElementBytes, type FunctionBuilder, simd, valueType } from "./wasm.ts";

/** Where an operand's elements lie: a pointer's local and a constant byte offset from it; and how wide they are. */
export interface Address {
  readonly pointer: number;
  readonly offset: number;
  readonly bytes: ElementBytes;
  /** Bytes from one row of a group to the next; default 0. */
  readonly rowBytes?: number;
  /** Bytes from lane to lane where other elements lie between; of elements of 32 bits. */
  readonly laneBytes?: number;
  /** Whether all lanes read one element, though it is another one in each row of a group. */
  readonly splat?: boolean;
}

/** A vector of a turn: how many elements and rows it lies behind the pointers. */
interface Vector {
  readonly offset: number;
  readonly row: number;
}

const keyOf = ({ offset, row }: Vector): string => `${offset} ${row}`;

export interface LaneSources {
  readonly address: (operand: number) => Address;
  /** What the expressions count; default nothing. */
  readonly counters?: readonly Counter[];
  /** Pushes the mean of a node over the row, in every lane; needed for `rowMean`. */
  readonly rowMean?: (x: NodeId) => void;
  /** Where vectors of several rows are computed in turn: the level from which on nodes differ between rows. */
  readonly rowLevel?: number;
}

/** Instructions for a vector from which on several vectors are computed side by side. */
const LONG = 16;
/** Vectors of a turn whose arithmetic is short: enough that the loop's own work does not count. */
const SHORT_TURN = 4;
/** Vectors of a turn whose arithmetic is long, computed side by side, and the instructions up to which there are so many. */
const LONG_TURN = 8;
const TURN_BUDGET = 512;

/** How many vectors of this many instructions make one turn of a loop. */
export const unrollOf = (cost: number): number =>
  cost < LONG ? SHORT_TURN : Math.max(1, Math.min(LONG_TURN, Math.floor(TURN_BUDGET / cost)));

export class LaneEmitter {
  readonly #fn: FunctionBuilder;
  readonly #graph: Graph;
  readonly #sources: LaneSources;
  readonly #uses = new Map<NodeId, NodeId[]>();
  readonly #roots: ReadonlySet<NodeId>;
  /** Locals of hoisted nodes by node, and of varying nodes that are used twice. */
  readonly #locals = new Map<NodeId, number>();
  /** The varying nodes whose locals hold the current vector. */
  readonly #current = new Set<NodeId>();
  /** Nodes whose vectors were stored, and where. */
  readonly #kept = new Map<NodeId, Address>();
  /** What was computed ahead, by vector. */
  readonly #ahead = new Map<string, ReadonlyMap<NodeId, number>>();
  /** Locals for that, used again in each turn. */
  readonly #pool: number[] = [];
  /** Offsets of the whole vectors of the turn. */
  #whole: readonly number[] = [];
  /** Of elements of 16 bits two vectors are loaded at once: locals by operand, row and place, and which hold them now. */
  readonly #eights = new Map<string, number>();
  readonly #loaded = new Set<string>();
  #offset = 0;
  #lanes = 4;
  #row = 0;

  constructor(fn: FunctionBuilder, graph: Graph, roots: readonly NodeId[], sources: LaneSources) {
    this.#fn = fn;
    this.#graph = graph;
    this.#sources = sources;
    this.#roots = new Set(roots);
    for (const root of this.#roots) this.#visit(root);
  }

  /** The number of instructions for one vector of some roots, or of all: a guide for unrolling. */
  costOf(roots: Iterable<NodeId> = this.#roots): number {
    const met = new Set<NodeId>();
    const visit = (id: NodeId): void => {
      if (!this.#node(id).varies || met.has(id)) return;
      met.add(id);
      if (!this.#kept.has(id)) for (const arg of this.#node(id).args) visit(arg);
    };
    for (const root of roots) visit(root);
    return met.size;
  }

  /**
   * Emits what stays the same within `level` loops and changes in the loop just entered; level 0 = the function's start.
   * With a phase, only what can be computed after that many passes over the row and not before.
   */
  enter(level: number, phase = 0): void {
    for (const id of [...this.#uses.keys()].sort((a, b) => a - b)) {
      const node = this.#node(id);
      if (node.level !== level || node.phase !== phase || node.kind === "stage" || !this.#isHoisted(id)) continue;
      const local = this.#fn.local(valueType.v128);
      this.#instruction(id);
      this.#fn.set(local);
      this.#locals.set(id, local);
    }
  }

  /** Says in which local the result of a pass over the row is. */
  define(stage: NodeId, local: number): void {
    this.#locals.set(stage, local);
  }

  /** From now on takes the node's value from memory, where each vector was stored. */
  keep(id: NodeId, at: Address): void {
    this.#kept.set(id, at);
  }

  /**
   * Starts a turn over whole vectors (one vector, if it is not whole), of one row or of each of a group. Long arithmetic is
   * computed here for all of them side by side, instruction by instruction: each instruction waits for the one before it, and
   * meanwhile the processor works on the other vectors.
   */
  turn(roots: readonly NodeId[], offsets: readonly number[], lanes: number, rows = 1): void {
    this.#ahead.clear();
    this.#loaded.clear();
    this.#whole = lanes === 4 ? offsets : [];
    const vectors = offsets.flatMap((offset) => Array.from({ length: rows }, (_, row): Vector => ({ offset, row })));
    if (vectors.length < 2 || this.costOf(roots) < LONG) return;
    const own = vectors.map((vector) => {
      const locals = new Map<NodeId, number>();
      this.#ahead.set(keyOf(vector), locals);
      return locals;
    });
    let used = 0;
    for (const id of this.#orderOf(roots)) {
      for (const [v, vector] of vectors.entries()) {
        const first = own[v - vector.row]!.get(id);
        if (vector.row > 0 && this.#outlivesRow(id)) {
          own[v]!.set(id, first!);
          continue;
        }
        if (used === this.#pool.length) this.#pool.push(this.#fn.local(valueType.v128));
        const local = this.#pool[used++]!;
        this.vector(vector.offset, lanes, vector.row);
        this.#compute(id);
        this.#fn.set(local);
        own[v]!.set(id, local);
      }
    }
  }

  /** What varies of what the roots are computed from, arguments first. */
  #orderOf(roots: readonly NodeId[]): ReadonlySet<NodeId> {
    const order = new Set<NodeId>();
    const visit = (id: NodeId): void => {
      if (order.has(id) || !this.#node(id).varies) return;
      if (!this.#kept.has(id)) for (const arg of this.#node(id).args) visit(arg);
      order.add(id);
    };
    for (const root of roots) visit(root);
    return order;
  }

  /**
   * Turns to the vector `offset` elements behind the pointers; with fewer than four lanes the others hold anything. Of a
   * group of rows, the rows after the first see that vector again, `row` rows further.
   */
  vector(offset: number, lanes: number, row = 0): void {
    this.#offset = offset;
    this.#lanes = lanes;
    this.#row = row;
    for (const id of this.#current) if (row === 0 || !this.#outlivesRow(id)) this.#current.delete(id);
  }

  /** Pushes a node's value, in the current vector if it varies. */
  push(id: NodeId): void {
    const { varies } = this.#node(id);
    const ahead = this.#ahead.get(keyOf({ offset: this.#offset, row: this.#row }))?.get(id);
    if (ahead !== undefined) {
      this.#fn.get(ahead);
      return;
    }
    const local = this.#locals.get(id);
    if (local !== undefined && (!varies || this.#current.has(id))) {
      this.#fn.get(local);
      return;
    }
    this.#compute(id);
    if (!varies || !(this.#isShared(id) || this.#outlivesRow(id))) return;
    const own = local ?? this.#fn.local(valueType.v128);
    this.#locals.set(id, own);
    this.#current.add(id);
    this.#fn.tee(own);
  }

  #compute(id: NodeId): void {
    const kept = this.#kept.get(id);
    if (kept === undefined) this.#instruction(id);
    else this.#fn.load(kept.pointer, kept.offset + kept.bytes * this.#offset, 4, kept.bytes);
  }

  #node(id: NodeId): Node {
    return this.#graph.nodes[id]!;
  }

  #visit(id: NodeId): void {
    if (this.#uses.has(id)) return;
    this.#uses.set(id, []);
    for (const arg of this.#node(id).args) {
      this.#visit(arg);
      this.#uses.get(arg)!.push(id);
    }
  }

  #isShared(id: NodeId): boolean {
    return this.#uses.get(id)!.length + (this.#roots.has(id) ? 1 : 0) > 1;
  }

  #outlivesRow(id: NodeId): boolean {
    const { kind, level } = this.#node(id);
    return this.#sources.rowLevel !== undefined && kind !== "const" && level < this.#sources.rowLevel;
  }

  #isHoisted(id: NodeId): boolean {
    const { varies, level, kind } = this.#node(id);
    const users = this.#uses.get(id)!;
    const alone = users.length === 1 && !this.#roots.has(id) && kind !== "rowMean";
    return !varies && !(alone && users.every((user) => !this.#node(user).varies && this.#node(user).level === level));
  }

  #instruction(id: NodeId): void {
    const fn = this.#fn;
    const node = this.#node(id);
    switch (node.kind) {
      case "load": {
        const address = this.#sources.address(node.operand);
        const { pointer, offset, bytes, rowBytes = 0, laneBytes = bytes, splat = !node.varies } = address;
        const start = offset + rowBytes * this.#row;
        if (splat) fn.loadSplat(pointer, start, bytes);
        else if (laneBytes !== bytes) fn.loadApart(pointer, start, this.#lanes, laneBytes);
        else if (node.upper && this.#hasNeighbour()) {
          this.#loadHalfOfEight(node.operand, pointer, start);
          return;
        } else fn.load(pointer, start + bytes * this.#offset, this.#lanes, bytes);
        if (!node.upper) return;
        fn.i32(16);
        fn.simd(simd.shl);
        return;
      }
      case "counter": {
        const { local, laneStep, rowStep } = this.#sources.counters![node.counter]!;
        fn.get(local);
        fn.i32(laneStep * this.#offset + rowStep * this.#row);
        fn.i32Add();
        fn.simd(simd.i32x4Splat);
        if (laneStep === 0) return;
        fn.constant([0, laneStep, 2 * laneStep, 3 * laneStep]);
        fn.simd(simd.i32Add);
        return;
      }
      case "const":
        fn.constant([node.bits, node.bits, node.bits, node.bits]);
        return;
      case "stage":
        throw new Error(`stage ${node.stage} of a rows kernel is read before its pass over the row`);
      case "rowMean":
        this.#sources.rowMean!(node.args[0]!);
        return;
      case "simd":
        for (const arg of node.args) this.push(arg);
        if (node.shift !== undefined) fn.i32(node.shift);
        fn.simd(node.op);
        return;
    }
  }

  /** Whether the vector that makes eight elements with this one is of the turn too. */
  #hasNeighbour(): boolean {
    return this.#lanes === 4 && this.#whole.includes(this.#offset ^ 4);
  }

  #loadHalfOfEight(operand: number, pointer: number, start: number): void {
    const fn = this.#fn;
    const first = this.#offset & ~7;
    const key = `${operand} ${this.#row} ${first}`;
    const local = this.#eights.get(key) ?? fn.local(valueType.v128);
    this.#eights.set(key, local);
    if (!this.#loaded.has(key)) {
      fn.loadEight(pointer, start + 2 * first);
      fn.set(local);
      this.#loaded.add(key);
    }
    fn.widenUpper(local, this.#offset !== first);
  }
}
