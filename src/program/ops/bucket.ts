// Buckets of gradients that ranks sum while the rest of the backward pass goes on. For the reference there is one rank.
import { ShapeError } from "../errors.ts";
import { sizeOf } from "../ir.ts";
import { expectCount, expectRank, expectType, f32, numbers, type OpDefinition } from "./definition.ts";

/** Gradients begin at cache lines. */
const LINE = 16;

export const alignElements = (count: number): number => Math.ceil(count / LINE) * LINE;

export const bucket: OpDefinition<"bucket"> = {
  infer(inputs) {
    if (inputs.length === 0) throw new ShapeError("takes at least one input");
    for (const [i, type] of inputs.entries()) expectType(type, "f32", `input ${i}`);
    return [f32(inputs.reduce((length, { shape }) => length + alignElements(sizeOf(shape)), 0))];
  },
  reference({ inputs, outputs }) {
    let at = 0;
    for (const input of inputs) {
      numbers(outputs[0]).set(numbers(input), at);
      at += alignElements(sizeOf(input.shape));
    }
  },
};

export const bucket_wait: OpDefinition<"bucket_wait"> = {
  infer(inputs) {
    expectCount(inputs, 1);
    expectType(inputs[0]!, "f32", "the bucket");
    expectRank(inputs[0]!, 1, "the bucket");
    return [f32(...inputs[0]!.shape)];
  },
  reference({ inputs, outputs }) {
    numbers(outputs[0]).set(numbers(inputs[0]));
  },
};
