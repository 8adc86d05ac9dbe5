// Rows of a batch that hold no data: weight 0, everything else 0.
import { bytesOf } from "../engine/plan.ts";
import type { Heap } from "../memory/index.ts";
import { type BatchLayout, columnOf } from "./layout.ts";

/** Gives the first `rows` rows of the slot at `address` weight 1 and clears the others. */
export function padRows(heap: Heap, layout: BatchLayout, address: number, rows: number): void {
  const { batch, columns } = layout;
  const weight = columnOf(layout, "weight");
  heap
    .f32(address + weight.offset, batch)
    .fill(1, 0, rows)
    .fill(0, rows);
  if (rows === batch) return;
  for (const { offset, dtype, width, name } of columns) {
    if (name === "weight") continue;
    const rowBytes = width * bytesOf[dtype];
    heap.u8(address + offset + rows * rowBytes, (batch - rows) * rowBytes).fill(0);
  }
}
