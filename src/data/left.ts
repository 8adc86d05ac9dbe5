// What readers that are gone have left of their share: found without them, from how far they had come, and dealt among others.
import type { Dataset } from "./dataset.ts";
import type { DataFile } from "./files.ts";
import { freshWork, mixEpoch, type PipelineState } from "./pipeline.ts";
import type { FileRange } from "./ring.ts";
import type { DatasetSpec } from "./spec.ts";

/** The part `share` of `shares` equal ones of what lies behind the fraction `from` of some work. */
export interface Cut {
  readonly from: number;
  readonly share: number;
  readonly shares: number;
}

/**
 * A state to resume from, whose rows are what the cuts leave of the dataset's share, one cut after the other. Exact to a row
 * where files know their rows and their order is kept; of text about so.
 */
export function workLeft(dataset: Dataset, epoch: number, cuts: readonly Cut[]): PipelineState {
  const { spec } = dataset;
  const { files, units } = freshWork(spec, mixEpoch(spec.shuffle, epoch));
  const left = cuts.reduce<readonly FileRange[]>((ranges, { from, share, shares }) => {
    const part = (1 - from) / shares;
    const to = share + 1 === shares ? 1 : from + (share + 1) * part;
    return between(ranges, { files, spec }, from + share * part, to);
  }, units);
  return {
    version: 1,
    delivered: 0,
    rows: 0,
    files: files.map(({ path, bytes }) => ({ path, bytes })),
    ranges: left.map(({ file, start, end }) => ({ file, start, ...(Number.isFinite(end) ? { end } : {}) })),
  };
}

/** The work from a fraction of the whole to another one. What cannot be cut belongs where its middle lies. */
function between(
  ranges: readonly FileRange[],
  { files, spec }: { readonly files: readonly DataFile[]; readonly spec: DatasetSpec },
  from: number,
  to: number,
): FileRange[] {
  const sizeOf = ({ file, start, end }: FileRange): number => (Number.isFinite(end) ? end - start : files[file]!.bytes);
  const total = ranges.reduce((sum, range) => sum + sizeOf(range), 0);
  const [first, last] = [Math.round(total * from), Math.round(total * to)];
  let before = 0;
  return ranges.flatMap((range) => {
    const at = before;
    before += sizeOf(range);
    if (files[range.file]!.gzip || (spec.format === "csv" && spec.multiline)) {
      const middle = (at + before) / 2;
      return middle >= first && middle < last ? [range] : [];
    }
    const { file, start, end } = range;
    const part = { file, start: start + Math.max(0, first - at), end: end - Math.max(0, before - last) };
    return part.start < part.end ? [part] : [];
  });
}
