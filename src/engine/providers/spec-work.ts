// What every provider demands of convolutions, pooling and norms before it binds them. Wrong sizes would be wild reads.
import { MAX_HEAP_BYTES } from "../../memory/index.ts";
import { bytesOf, type DType } from "../plan.ts";
import type {
  ConvAddresses,
  ConvShape,
  NormAddresses,
  NormShape,
  PoolAddresses,
  PoolShape,
  Scratch,
  Work,
} from "../provider.ts";

/** Windows of max pooling number their places in a byte. */
const MAX_PLACES = 256;
const MAX_I32 = 0x7fffffff;

/** Operands of work: element type, number of elements, and whether it may be left out. */
interface Operand {
  readonly type: DType;
  readonly size: number;
  readonly optional?: boolean;
}

type Operands<Addresses> = { readonly [Name in keyof Addresses]-?: Operand | undefined };

/** What is demanded of a kind of work. */
interface Demands<Shape, Addresses> {
  /** The work in words, for messages. */
  describe(shape: Shape): string;
  /** @throws RangeError or TypeError that names the field. */
  checkShape(shape: Shape): void;
  /** Undefined: this shape has no such operand. */
  operands(shape: Shape): Operands<Addresses>;
}

/** `work` that refuses shapes and addresses that cannot be, before it sees them. */
export function checked<Shape, Addresses extends object>(
  demands: Demands<Shape, Addresses>,
  work: Work<Shape, Addresses>,
): Work<Shape, Addresses> {
  const check = (shape: Shape): void => {
    demands.checkShape(shape);
    for (const [name, operand] of Object.entries<Operand | undefined>(demands.operands(shape))) {
      if (operand === undefined || operand.size * bytesOf[operand.type] <= MAX_HEAP_BYTES) continue;
      throw new RangeError(
        `${demands.describe(shape)}: ${name} has ${operand.size} elements, more than the largest heap (16 GiB) holds.`,
      );
    }
  };
  return {
    scratchBytes(shape) {
      check(shape);
      return work.scratchBytes(shape);
    },
    bind(shape, at) {
      check(shape);
      checkAddresses(demands.describe(shape), { ...demands.operands(shape) }, at);
      const needed = work.scratchBytes(shape);
      if (at.scratchBytes < needed) {
        throw new RangeError(
          `${demands.describe(shape)}: ${at.scratchBytes} bytes of scratch, ${needed} needed; ask scratchBytes(shape).`,
        );
      }
      return work.bind(shape, at);
    },
  };
}

function checkAddresses(what: string, operands: Record<string, Operand | undefined>, at: object & Scratch): void {
  const addresses = at as Readonly<Record<string, unknown>>;
  const scratch: Operand = { type: "f32", size: 0 };
  for (const [name, operand] of Object.entries({ ...operands, scratch })) {
    const value = addresses[name];
    if (operand === undefined || (operand.optional && value === undefined)) continue;
    const bytes = bytesOf[operand.type];
    if (
      Number.isInteger(value) &&
      Number(value) >= 0 &&
      Number(value) < MAX_HEAP_BYTES &&
      Number(value) % bytes === 0
    ) {
      continue;
    }
    const expected = `a byte address below 2^34${bytes > 1 ? ` that is a multiple of ${bytes}` : ""}`;
    throw new RangeError(`${what}: address ${name} is ${value}, expected ${expected}.`);
  }
}

/** Fields of a shape that are integers from `least`. */
function checkIntegers<Shape extends object>(what: string, shape: Shape, least: number, names: (keyof Shape)[]): void {
  for (const name of names) {
    const value = shape[name];
    if (Number.isInteger(value) && Number(value) >= least && Number(value) <= MAX_I32) continue;
    throw new RangeError(`${what}: ${String(name)} is ${value}, expected an integer from ${least} to ${MAX_I32}.`);
  }
}

export const convDemands: Demands<ConvShape, ConvAddresses> = {
  describe: (s) =>
    `conv (${s.direction}) of [${s.batch}, ${s.height}, ${s.width}, ${s.channels}] ` +
    `by ${s.kernelHeight}×${s.kernelWidth} to [${s.batch}, ${s.outHeight}, ${s.outWidth}, ${s.outChannels}]`,
  checkShape(s) {
    const what = convDemands.describe(s);
    checkIntegers(what, s, 1, [
      "batch",
      "height",
      "width",
      "channels",
      "outHeight",
      "outWidth",
      "outChannels",
      "groups",
    ]);
    checkIntegers(what, s, 1, ["kernelHeight", "kernelWidth", "strideHeight", "strideWidth"]);
    checkIntegers(what, s, 1, ["dilationHeight", "dilationWidth"]);
    checkIntegers(what, s, 0, ["padTop", "padLeft"]);
    for (const name of ["channels", "outChannels"] as const) {
      if (s[name] % s.groups === 0) continue;
      throw new RangeError(`${what}: groups is ${s.groups}, which does not divide ${name} ${s[name]}.`);
    }
    if (s.bias && s.direction === "input") {
      throw new TypeError(`${what}: the gradient of the input has no bias; leave it to the one of the weights.`);
    }
    if (s.activation !== undefined && s.direction !== "forward") {
      throw new TypeError(`${what}: activation is ${s.activation}, but gradients have none; apply its own before.`);
    }
  },
  operands: ({ types, batch, channels, outChannels, ...s }) => ({
    x: { type: types.x, size: batch * s.height * s.width * channels },
    w: { type: types.w, size: (s.kernelHeight * s.kernelWidth * channels * outChannels) / s.groups },
    y: { type: types.y, size: batch * s.outHeight * s.outWidth * outChannels },
    bias: s.bias ? { type: "f32", size: outChannels } : undefined,
  }),
};

export const poolDemands: Demands<PoolShape, PoolAddresses> = {
  describe: (s) =>
    `${s.mode} pooling (${s.direction}) of [${s.batch}, ${s.height}, ${s.width}, ${s.channels}] ` +
    `by ${s.kernelHeight}×${s.kernelWidth} to [${s.outHeight}, ${s.outWidth}]`,
  checkShape(s) {
    const what = poolDemands.describe(s);
    checkIntegers(what, s, 1, ["batch", "height", "width", "channels", "outHeight", "outWidth"]);
    checkIntegers(what, s, 1, ["kernelHeight", "kernelWidth", "strideHeight", "strideWidth"]);
    checkIntegers(what, s, 0, ["padTop", "padLeft"]);
    for (const [pad, kernel] of [["padTop", "kernelHeight"] as const, ["padLeft", "kernelWidth"] as const]) {
      if (s[pad] < s[kernel]) continue;
      throw new RangeError(`${what}: ${pad} is ${s[pad]}, expected less than ${kernel} ${s[kernel]}.`);
    }
    const places = s.kernelHeight * s.kernelWidth;
    if (s.mode === "max" && places > MAX_PLACES) {
      throw new RangeError(`${what}: a window has ${places} places, max pooling tells ${MAX_PLACES} apart.`);
    }
  },
  operands: ({ mode, direction, type, batch, channels, ...s }) => {
    const results = batch * s.outHeight * s.outWidth * channels;
    return {
      x: { type, size: batch * s.height * s.width * channels },
      y: { type, size: results },
      places: mode === "max" ? { type: "u8", size: results, optional: direction === "forward" } : undefined,
    };
  },
};

export const normDemands: Demands<NormShape, NormAddresses> = {
  describe: (s) => `${s.axis} norm (${s.direction}) of [${s.rows}, ${s.columns}]`,
  checkShape(s) {
    const what = normDemands.describe(s);
    checkIntegers(what, s, 1, ["rows", "columns"]);
    if (s.epsilon >= 0 && s.epsilon < Number.POSITIVE_INFINITY) return;
    throw new RangeError(`${what}: epsilon is ${s.epsilon}, expected a number from 0.`);
  },
  operands({ axis, direction, type, rows, columns }) {
    const x: Operand = { type, size: rows * columns };
    const scale: Operand = { type: "f32", size: columns };
    const statistics: Operand = { type: "f32", size: axis === "layer" ? rows : columns };
    const backward = direction === "backward";
    return {
      ...{ x, y: x, gamma: scale, mean: statistics, rstd: statistics },
      ...{ beta: backward ? undefined : scale, dx: backward ? x : undefined },
      ...{ dgamma: backward ? scale : undefined, dbeta: backward ? scale : undefined },
    };
  },
};
