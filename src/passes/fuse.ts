// Fusion until there is nothing left to fuse: a map that became part of a rows op may have been the last other reader of a
// value, and the rows op's own results are now read by others.
import type { Program } from "../program/ir.ts";
import { fuseElementwise } from "./fuse-elementwise.ts";
import { fuseRows } from "./fuse-rows.ts";

export function fuse(program: Program): Program {
  let fused = fuseElementwise(program);
  for (;;) {
    const joined = fuseRows(fused);
    // Each turn leaves fewer ops.
    if (joined === fused) return fused;
    fused = fuseElementwise(joined);
  }
}
