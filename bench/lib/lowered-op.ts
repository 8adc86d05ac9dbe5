// One op of a program, lowered to generated kernels and bound to memory of its own: for measurements.
import { bind, type Operand, prepare, scratchBytes } from "../../src/engine/index.ts";
import { wasmProvider } from "../../src/engine/providers/index.ts";
import type { Heap } from "../../src/memory/index.ts";
import { optimize } from "../../src/passes/index.ts";
import { type OpAttrs, type OpKind, ProgramBuilder, plan, type Shape } from "../../src/program/index.ts";

export interface LoweredOp<K extends OpKind> {
  readonly kind: K;
  /** Shapes of the f32 operands. */
  readonly inputs: readonly Shape[];
  readonly attrs: OpAttrs[K];
  /** Positions of operands that the op writes. */
  readonly writes?: readonly number[];
}

/** The op over made-up numbers; `close` gives its memory back. */
export function openOp<K extends OpKind>(heap: Heap, op: LoweredOp<K>): { run(): void; close(): void } {
  const builder = new ProgramBuilder();
  const ids = op.inputs.map((shape, i) =>
    op.writes?.includes(i)
      ? builder.parameter(`${i}`, shape, { kind: "ones" }, { trainable: false })
      : builder.input(`${i}`, { shape, dtype: "f32" }),
  );
  for (const [i, id] of builder.emit(op.kind, ids, op.attrs).entries()) builder.output(`${i}`, id);
  const provider = wasmProvider(heap);
  const planned = plan(optimize(builder.build()), { scratch: (signature) => scratchBytes(signature, provider) });
  const [arena, shared] = [heap.alloc(planned.arenaBytes), heap.alloc(planned.sharedBytes)];
  const fill = ({ offset, shape }: Operand): void => {
    const length = shape.reduce((size, extent) => size * extent, 1);
    const numbers = heap.f32(arena + offset, length);
    for (let i = 0; i < length; i++) numbers[i] = 2 * Math.sin(1.37 * i);
  };
  for (const operand of Object.values(planned.inputs)) fill(operand);
  const executable = bind(prepare(planned), { heap, provider, arena, shared });
  return {
    run: () => executable.run(),
    close() {
      executable.dispose();
      heap.free(arena);
      heap.free(shared);
    },
  };
}
