// Numbers of random batches: the same in every run and every process.
import { randomFrom } from "../../src/program/testing-random.ts";

/** Uniform from −1 to 1. */
export function floats(size: number): Float32Array {
  const random = randomFrom(1);
  return Float32Array.from({ length: size }, () => 2 * random() - 1);
}

/** Uniform from 0 to below `below`. */
export function integers(size: number, below: number): Int32Array {
  const random = randomFrom(2);
  return Int32Array.from({ length: size }, () => Math.floor(random() * below));
}
