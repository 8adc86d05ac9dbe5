// Pooling by oneDNN, where its workspace is our places: an u8 for each result, numbered row by row within the window.
import { bytesOf } from "../../plan.ts";
import type { PoolAddresses, PoolShape } from "../../provider.ts";
import { converter } from "../wasm/half.ts";
import { Algorithm, Argument } from "./native.ts";
import {
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

/** What distinguishes two shapes. */
export function poolKey(shape: PoolShape, places: boolean): string {
  const { direction, mode, type, batch, height, width, channels, outHeight, outWidth } = shape;
  const window = [shape.kernelHeight, shape.kernelWidth, shape.strideHeight, shape.strideWidth];
  const sizes = [batch, height, width, channels, outHeight, outWidth, ...window, shape.padTop, shape.padLeft];
  const rest = `${shape.countPadding ? " padding" : ""}${places ? " places" : ""}`;
  return `pool ${direction} ${mode} ${type} ${sizes.join(" ")}${rest}`;
}

/**
 * Gradients of half precision by the code for f32, between copies of one picture at a time, which stay in the cache.
 * Undefined for other work, and where the library has no code.
 */
export function createHalfGradient(runtime: Runtime, shape: PoolShape): Implementation<PoolAddresses> | undefined {
  if (shape.direction !== "input" || shape.type === "f32") return undefined;
  const { type, batch, mode } = shape;
  const wide = createPooling(runtime, { ...shape, type: "f32", batch: 1 }, mode === "max");
  if (wide === undefined) return undefined;
  const sizeX = shape.height * shape.width * shape.channels;
  const sizeY = shape.outHeight * shape.outWidth * shape.channels;
  const [bytesX, bytesY] = [roundUp(4 * sizeX), roundUp(4 * sizeY)];
  return {
    scratchBytes: bytesX + bytesY + wide.scratchBytes,
    bind({ scratch, scratchBytes, x, y, places }) {
      const { read, write } = converter(runtime.heap);
      const ends = { x: scratch, y: scratch + bytesX };
      const rest = { scratch: ends.y + bytesY, scratchBytes: scratchBytes - bytesX - bytesY };
      return sequence(
        Array.from({ length: batch }, (_, i) => [
          read(type, y + i * sizeY * bytesOf[type], ends.y, sizeY),
          wide.bind({ ...ends, ...(places === undefined ? {} : { places: places + i * sizeY }), ...rest }),
          write(type, ends.x, x + i * sizeX * bytesOf[type], sizeX),
        ]).flat(),
      );
    },
  };
}

/**
 * With `places` where the maximum's places are written or read. Undefined where the library has no code, or would keep other
 * places than ours, or would round a sum of bf16 numbers more than once: in a gradient where windows overlap.
 */
export function createPooling(
  runtime: Runtime,
  shape: PoolShape,
  places: boolean,
): Implementation<PoolAddresses> | undefined {
  const { library } = runtime;
  const { native, dialect, engine } = library;
  const isInput = shape.direction === "input";
  const { kernelHeight, kernelWidth, strideHeight, strideWidth } = shape;
  const overlaps = kernelHeight > strideHeight || kernelWidth > strideWidth;
  if (isInput && overlaps && shape.type !== "f32") return undefined;
  const picture = (argument: number, height: number, width: number, type: Operand["type"]): Operand => ({
    ...{ argument, type, written: false },
    dims: [shape.batch, shape.channels, height, width],
    strides: [height * width * shape.channels, 1, width * shape.channels, shape.channels],
  });
  const x = picture(isInput ? Argument.sourceGradient : Argument.source, shape.height, shape.width, shape.type);
  const outArgument = isInput ? Argument.destinationGradient : Argument.destination;
  const y = picture(outArgument, shape.outHeight, shape.outWidth, shape.type);
  const workspace = picture(Argument.workspace, shape.outHeight, shape.outWidth, "u8");
  const average = shape.countPadding ? Algorithm.poolingAverageWithPadding : Algorithm.poolingAverage;
  const after = (size: number, out: number, stride: number, kernel: number, before: number): number =>
    Math.max(0, (out - 1) * stride + kernel - size - before);
  const primitive = createPrimitive(library, (attributes) =>
    withDescriptors(library, [x, y], asTheyLie, (dx, dy) =>
      dialect.pooling(
        engine,
        {
          direction: isInput ? "input" : places ? "training" : "inference",
          algorithm: shape.mode === "max" ? Algorithm.poolingMax : average,
          ...{
            x: dx!,
            y: dy!,
            kernel: [kernelHeight, kernelWidth],
            strides: [strideHeight, strideWidth],
            gaps: [0, 0],
          },
          before: [shape.padTop, shape.padLeft],
          after: [
            after(shape.height, shape.outHeight, strideHeight, kernelHeight, shape.padTop),
            after(shape.width, shape.outWidth, strideWidth, kernelWidth, shape.padLeft),
          ],
        },
        attributes,
      ),
    ),
  );
  if (primitive === undefined) return undefined;
  const isOurs = withDescriptors(library, [workspace], asTheyLie, (descriptor) =>
    native.equal(descriptor!, native.memoryDescriptor(primitive.descriptor, Argument.workspace)),
  );
  if (places && !isOurs) return undefined;
  return {
    scratchBytes: primitive.scratchBytes,
    bind: (at) =>
      bindPrimitive(
        runtime,
        primitive,
        {
          ...{ [x.argument]: at.x, [y.argument]: at.y },
          ...(places ? { [Argument.workspace]: at.places! } : {}),
        },
        at.scratch,
      ),
  };
}
