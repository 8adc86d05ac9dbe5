// Layer and batch norm by oneDNN. The library speaks of variances where we keep rstd = 1 / √(variance + epsilon); a kernel
// turns one into the other.
import type { NormAddresses, NormShape } from "../../provider.ts";
import { Argument } from "./native.ts";
import {
  type ArgumentAddresses,
  asTheyLie,
  bindPrimitive,
  createPrimitive,
  type Implementation,
  type Operand,
  type Runtime,
  roundUp,
  sequence,
  withDescriptors,
} from "./primitive.ts";

/** Exports of rstd.as.ts. */
export interface RstdKernels {
  /** Variances to 1 / √(variance + epsilon), in place. */
  invert(count: number, address: number, epsilon: number): void;
  /** 1 / rstd² of each number. */
  spread(count: number, rstd: number, variance: number): void;
}

/** What distinguishes two shapes. */
export function normKey(shape: NormShape): string {
  return `${shape.axis} norm ${shape.direction} ${shape.type} ${shape.rows}x${shape.columns} ${shape.epsilon}`;
}

/** Undefined where the library has no code. */
export function createNorm(
  runtime: Runtime,
  kernels: RstdKernels,
  shape: NormShape,
): Implementation<NormAddresses> | undefined {
  const { library } = runtime;
  const { direction, axis, rows, columns, type } = shape;
  const isBackward = direction === "backward";
  // 1 / rstd² already holds epsilon.
  const epsilon = isBackward ? 0 : shape.epsilon;
  const x: Operand = {
    ...{ argument: Argument.source, type, written: false },
    // A picture of one row, because the library's fastest code is for pictures of NHWC.
    ...(axis === "batch"
      ? { dims: [1, columns, 1, rows], strides: [rows * columns, 1, rows * columns, columns] }
      : { dims: [rows, columns], strides: [columns, 1] }),
  };
  const statistics: Operand = {
    ...{ argument: Argument.mean, type: "f32", written: false },
    ...{ dims: [rows], strides: [1] },
  };
  const primitive = createPrimitive(library, (attributes) =>
    withDescriptors(library, [x, statistics], asTheyLie, (dx, ds) =>
      library.dialect.normalization(
        library.engine,
        { direction, axis, epsilon, x: dx!, statistics: axis === "layer" ? ds! : null },
        attributes,
      ),
    ),
  );
  if (primitive === undefined) return undefined;
  const count = axis === "layer" ? rows : columns;
  const varianceBytes = isBackward ? roundUp(count * 4) : 0;
  return {
    scratchBytes: varianceBytes + primitive.scratchBytes,
    bind(at) {
      const { scratch } = at;
      const bind = (operands: ArgumentAddresses): (() => void) =>
        bindPrimitive(runtime, primitive, operands, scratch + varianceBytes);
      const common = { [Argument.mean]: at.mean, [Argument.scale]: at.gamma };
      if (!isBackward) {
        const operands = {
          ...{ [Argument.source]: at.x, [Argument.shift]: at.beta },
          ...{ [Argument.destination]: at.y, [Argument.variance]: at.rstd },
        };
        const invert = (): void => kernels.invert(count, at.rstd, epsilon);
        return sequence([bind({ ...common, ...operands }), invert]);
      }
      const operands = {
        ...{ [Argument.source]: at.x, [Argument.destinationGradient]: at.y, [Argument.sourceGradient]: at.dx! },
        ...{ [Argument.scaleGradient]: at.dgamma!, [Argument.shiftGradient]: at.dbeta! },
        ...{ [Argument.variance]: scratch },
        // Only to be there: the gradient does not read it.
        ...(library.dialect.shiftsGradient[axis] ? { [Argument.shift]: at.gamma } : {}),
      };
      const spread = (): void => kernels.spread(count, at.rstd, scratch);
      return sequence([spread, bind({ ...common, ...operands })]);
    },
  };
}
