// Rows of a batch that hold no data: weight 0, everything else 0; and what the rows that hold data weigh.
import { bytesOf } from "../engine/plan.ts";
import { type Heap, instantiate } from "../memory/index.ts";
import { type BatchLayout, columnOf } from "./layout.ts";

/** Clears all but the first `rows` rows of the slot at `address`, and gives these weight 1 unless the data weighs them. */
export function padRows(heap: Heap, layout: BatchLayout, address: number, rows: number): void {
  const { batch, columns, weighted } = layout;
  if (!weighted) {
    const weight = columnOf(layout, "weight");
    heap
      .f32(address + weight.offset, batch)
      .fill(1, 0, rows)
      .fill(0, rows);
  }
  if (rows === batch) return;
  for (const { offset, dtype, width, name } of columns) {
    if (name === "weight" && !weighted) continue;
    const rowBytes = width * bytesOf[dtype];
    heap.u8(address + offset + rows * rowBytes, (batch - rows) * rowBytes).fill(0);
  }
}

interface WeightsKernel {
  total(address: number, n: number): number;
}

/** What the first rows of a slot of this layout weigh together. */
export function weigher(heap: Heap, layout: BatchLayout): (address: number, rows: number) => number {
  if (!layout.weighted) return (_, rows) => rows;
  const kernel = instantiate<WeightsKernel>("weights", heap);
  const { offset, width } = columnOf(layout, "weight");
  return (address, rows) => kernel.total(address + offset, rows * width);
}
