// The loops of a kernel: dimensions of size 1 vanish, neighbours that every operand walks through evenly become one, and
// pointers move by constants. All strides count elements.
import type { RowsKernel } from "./spec.ts";
import type { FunctionBuilder } from "./wasm.ts";
import { valueType } from "./wasm.ts";

/** One loop: `strides[i]` is how far operand i moves in one turn. */
export interface Loop {
  readonly count: number;
  readonly strides: readonly number[];
  /** For reductions: whether the loop's dimension vanishes from the output. */
  readonly reduced: boolean;
}

/** The strides with which a dense tensor of `from` is read as `to`, 0 where it is repeated. */
export function broadcastStrides(from: readonly number[], to: readonly number[]): number[] {
  const strides = new Array<number>(to.length).fill(0);
  let step = 1;
  for (let axis = to.length - 1, own = from.length - 1; own >= 0; axis--, own--) {
    const size = from[own]!;
    if (size !== 1) strides[axis] = step;
    step *= size;
  }
  return strides;
}

/** The strides of a rows kernel's operands: inputs, tensors, numbers a row. */
export function rowsStrides({ shape, inputs, exprs, rowExprs }: RowsKernel): number[][] {
  const own = broadcastStrides(shape, shape);
  const ofRows = broadcastStrides([...shape.slice(0, -1), 1], shape);
  return [
    ...inputs.map((input) => broadcastStrides(input.shape, shape)),
    ...exprs.map(() => own),
    ...rowExprs.map(() => ofRows),
  ];
}

/** Whether numpy's rules let a tensor of `from` be read as `to`. */
export function broadcastsTo(from: readonly number[], to: readonly number[]): boolean {
  const missing = to.length - from.length;
  return missing >= 0 && from.every((size, axis) => size === 1 || size === to[axis + missing]);
}

/**
 * The fewest loops, outermost first, over `shape` for operands with these strides per axis. At least one loop comes back;
 * a rank-0 shape is one turn in which no operand moves.
 */
export function collapse(
  shape: readonly number[],
  strides: readonly (readonly number[])[],
  axes: readonly number[] = [],
): Loop[] {
  const loops: Loop[] = [];
  for (const [axis, count] of shape.entries()) {
    if (count === 1) continue;
    const loop: Loop = { count, strides: strides.map((of) => of[axis]!), reduced: axes.includes(axis) };
    const outer = loops.at(-1);
    const even = outer?.strides.every((stride, operand) => stride === loop.strides[operand]! * count);
    if (outer && even && outer.reduced === loop.reduced) {
      loops[loops.length - 1] = { ...loop, count: outer.count * count };
    } else {
      loops.push(loop);
    }
  }
  return loops.length > 0 ? loops : [{ count: 1, strides: strides.map(() => 0), reduced: axes.length > 0 }];
}

/** The running pointers of a function's operands, which are its locals. */
export class Pointers {
  readonly #fn: FunctionBuilder;
  readonly #locals: readonly number[];
  readonly #units: readonly number[];

  /** @param units by how much an operand's local grows for one element: 4 for f32 pointers, 1 for a counter */
  constructor(fn: FunctionBuilder, locals: readonly number[], units: readonly number[]) {
    this.#fn = fn;
    this.#locals = locals;
    this.#units = units;
  }

  move(elements: readonly number[]): void {
    for (const [operand, distance] of elements.entries()) {
      this.#fn.increment(this.#locals[operand]!, distance * this.#units[operand]!);
    }
  }
}

/** How far operands move in `count` turns. */
export const times = (strides: readonly number[], count: number): number[] => strides.map((stride) => stride * count);

/** Emits `turns` turns of `body`: a loop, the body itself for one, nothing for none. */
export function repeat(fn: FunctionBuilder, turns: number, body: () => void): void {
  if (turns < 2) {
    if (turns === 1) body();
    return;
  }
  const counter = fn.local(valueType.i32);
  fn.i32(turns);
  fn.set(counter);
  fn.countDown(counter, body);
}

/**
 * Emits nested loops. `enter(i)` stands at the start of each turn of loop i, `body` in the innermost; `body` returns how
 * far it has moved each operand. Returns how far the whole nest moves each operand.
 */
export function nest(
  fn: FunctionBuilder,
  loops: readonly Loop[],
  pointers: Pointers,
  enter: (loop: number) => void,
  body: () => readonly number[],
  depth = 0,
): readonly number[] {
  const loop = loops[depth];
  if (!loop) return body();
  repeat(fn, loop.count, () => {
    enter(depth);
    const moved = nest(fn, loops, pointers, enter, body, depth + 1);
    pointers.move(loop.strides.map((stride, operand) => stride - moved[operand]!));
  });
  return loop.strides.map((stride) => stride * loop.count);
}

/**
 * Emits `turn(offsets, lanes)` for a run of `length` elements: `unroll` whole vectors of four a turn, those left over, and a
 * rest of one to three lanes. `step` moves the pointers by a number of elements. Returns by how many elements they have moved.
 */
export function overTurns(
  fn: FunctionBuilder,
  length: number,
  unroll: number,
  step: (elements: number) => void,
  turn: (offsets: readonly number[], lanes: number) => void,
): number {
  const vectors = Math.floor(length / 4);
  const whole = (count: number): void =>
    turn(
      Array.from({ length: count }, (_, vector) => 4 * vector),
      4,
    );
  // A loop of a single turn is no loop.
  const turns = vectors < 2 * unroll ? 0 : Math.floor(vectors / unroll);
  if (turns > 0) {
    repeat(fn, turns, () => {
      whole(unroll);
      step(4 * unroll);
    });
  }
  const rest = vectors - turns * unroll;
  if (rest > 0) whole(rest);
  if (length % 4 > 0) turn([4 * rest], length % 4);
  return 4 * unroll * turns;
}

/** The same by vectors: `body(offset, lanes)` for each, and `turn` in front of those of a turn. */
export function overLanes(
  fn: FunctionBuilder,
  length: number,
  unroll: number,
  step: (elements: number) => void,
  body: (offset: number, lanes: number) => void,
  turn: (offsets: readonly number[], lanes: number) => void = () => {},
): number {
  return overTurns(fn, length, unroll, step, (offsets, lanes) => {
    turn(offsets, lanes);
    for (const offset of offsets) body(offset, lanes);
  });
}
