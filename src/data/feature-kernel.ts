// The exports of encode-features.as.ts as TypeScript sees them; what each does stands there.
import { featureId } from "./feature-hash.ts";

export interface FeatureKernel {
  numbersOfText(
    starts: number,
    lengths: number,
    count: number,
    scale: number,
    out: number,
    codes: number,
    details: number,
    detail: number,
  ): void;
  scaleNumbers(values: number, count: number, scale: number, out: number): void;
  dateParts(values: number, count: number, part: number, out: number): void;
  filterRange(values: number, count: number, from: number, to: number, codes: number): void;
  requireLabel(values: number, count: number, codes: number): void;
  selectRows(codes: number, count: number, rows: number): number;
  hashTexts(
    starts: number,
    lengths: number,
    rows: number,
    count: number,
    column: number,
    folding: boolean,
    out: number,
    stride: number,
  ): void;
  hashNumbers(
    values: number,
    rows: number,
    count: number,
    column: number,
    folding: boolean,
    out: number,
    stride: number,
  ): void;
  hashBuckets(
    values: number,
    rows: number,
    count: number,
    bounds: number,
    boundCount: number,
    column: number,
    folding: boolean,
    out: number,
    stride: number,
  ): void;
  finishIds(count: number, buckets: number, out: number, stride: number): void;
  denseAffine(
    values: number,
    rows: number,
    count: number,
    mean: number,
    scale: number,
    out: number,
    stride: number,
  ): void;
  denseLog(values: number, rows: number, count: number, out: number, stride: number): void;
  labels(values: number, rows: number, count: number, kind: number, bound: number, out: number): void;
  labelsOfHashes(hashes: number, count: number, targets: number, targetCount: number, out: number): void;
  hashBags(
    starts: number,
    lengths: number,
    rows: number,
    count: number,
    separator: number,
    most: number,
    column: number,
    buckets: number,
    out: number,
  ): void;
}

type Scalar = string | number;

/** Hashes of the values that a label is compared with: those of column 0. */
export function hashTargets(equals: Scalar | readonly Scalar[] | undefined): bigint[] {
  if (equals === undefined) return [];
  return [equals].flat().map((value) => featureId(0, value as Scalar));
}
