// Ranks in rows of `columns`: reduce-scatter along the row, all-reduce of the own part along the column, all-gather along
// the row. The 2-D torus (Mikami et al., "Massively distributed SGD", 2018) runs rings both ways: 2(C - 1) + 2(R - 1) steps
// instead of 2(P - 1). The hierarchical form takes a row for ranks that are near each other (a machine): inside it everyone
// talks with everyone, and only S/C bytes of each rank leave it. Bytes per rank 2S(C - 1)/C + 2(S/C)(R - 1)/R.
import { partOf, type Schedule, type ScheduleRequest } from "../schedule.ts";
import { directAllGather, directReduceScatter } from "./direct.ts";
import { type Circle, ringAllGather, ringAmong, ringReduceScatter } from "./ring.ts";

export interface GridRequest extends ScheduleRequest {
  /** Ranks of a row; it divides the size. */
  readonly columns: number;
}

/** @throws RangeError when the rows would not be full. */
export function gridOf({ rank, size, columns }: GridRequest): { row: Circle; column: Circle } {
  if (!Number.isInteger(columns) || columns < 1 || size % columns !== 0) {
    throw new RangeError(
      `groups of ${columns} ranks do not divide a world of ${size}; take a divisor of ${size} or another algorithm`,
    );
  }
  const rows = size / columns;
  const [y, x] = [Math.floor(rank / columns), rank % columns];
  return {
    row: { members: Array.from({ length: columns }, (_, i) => y * columns + i), index: x },
    column: { members: Array.from({ length: rows }, (_, i) => i * columns + x), index: y },
  };
}

export function torus(request: GridRequest): Schedule {
  const { row, column } = gridOf(request);
  const all = { start: 0, count: request.count };
  const part = partOf(all, row.members.length, row.index);
  return {
    into: "data",
    steps: [
      ...ringReduceScatter(row, all, request.segment),
      ...ringAmong(column, part, request.segment),
      ...ringAllGather(row, all, request.segment),
    ],
  };
}

export function hierarchical(request: GridRequest): Schedule {
  const { row, column } = gridOf(request);
  const all = { start: 0, count: request.count };
  const part = partOf(all, row.members.length, row.index);
  return {
    into: "data",
    steps: [
      ...directReduceScatter(row, all, request.segment),
      ...ringAmong(column, part, request.segment),
      ...directAllGather(row, all, request.segment),
    ],
  };
}
