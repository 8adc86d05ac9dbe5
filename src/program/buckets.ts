// Which gradients travel together: buckets in the order in which the backward pass gives the gradients.
import { type Shape, sizeOf } from "./ir.ts";
import { alignElements } from "./ops/bucket.ts";

/** The gradient of a parameter in a bucket, `offset` elements behind its start. */
export interface BucketPart {
  readonly parameter: string;
  readonly offset: number;
  readonly shape: Shape;
}

/** Of a gradient that is 0 but for the rows that a batch's ids name. */
export interface RowGradient {
  /** The input that has the ids, and how many they are. */
  readonly column: string;
  readonly count: number;
  /** Elements of a sum over the ranks that take as long on the wire as these rows. */
  readonly length: number;
}

export interface Bucket {
  readonly name: string;
  /** Elements. */
  readonly length: number;
  readonly parts: readonly BucketPart[];
  /** Its gradients travel as the largest of them alone (deep gradient compression). */
  readonly compressed?: true;
  /** Ranks send each other rows of the only gradient in it. */
  readonly rows?: RowGradient;
}

export interface BucketOptions {
  /** The most bytes of a bucket of several gradients; default 32 MB, as PaddlePaddle's. */
  readonly fuseBytes?: number | undefined;
  /** The most bytes of the last bucket, whose sum nothing hides; default 1 MB. */
  readonly lastBucketBytes?: number | undefined;
  /** A bucket is also full with this share of all bytes, and 1 MB; default 1. */
  readonly share?: number;
  /** Whether the buckets are compressed. */
  readonly compressed?: boolean;
}

const FUSE_BYTES = 32 * 2 ** 20;
/** A bucket is never full with less. */
const LEAST_BYTES = 2 ** 20;
const LAST_BUCKET_BYTES = 2 ** 20;
/** So much of a bucket's name tells what is in it. */
const NAME_LENGTH = 60;

/** Name of the output by which a step leaves a bucket. */
export const bucketOutput = (bucket: Pick<Bucket, "name">): string => `bucket:${bucket.name}`;

/**
 * A bucket is full with as much as all before it together, or as all behind it: the wire gets work soon, and little is left to
 * send when the backward pass is over.
 * @param gradients in the order in which they are ready
 */
export function planBuckets(
  gradients: readonly { readonly parameter: string; readonly shape: Shape }[],
  { fuseBytes = FUSE_BYTES, lastBucketBytes = LAST_BUCKET_BYTES, share = 1, compressed = false }: BucketOptions = {},
): Bucket[] {
  const bytesOf = (shape: Shape): number => 4 * alignElements(sizeOf(shape));
  let last = gradients.length - 1;
  for (let bytes = last < 0 ? 0 : bytesOf(gradients[last]!.shape); last > 0; last--) {
    bytes += bytesOf(gradients[last - 1]!.shape);
    if (bytes > lastBucketBytes) break;
  }
  const groups: (typeof gradients)[number][][] = [];
  const all = gradients.reduce((sum, { shape }) => sum + bytesOf(shape), 0);
  let behind = all;
  let [before, filled] = [0, 0];
  for (const [i, gradient] of gradients.entries()) {
    const bytes = bytesOf(gradient.shape);
    const full = filled >= Math.max(LEAST_BYTES, Math.min(before, behind, share * all)) || filled + bytes > fuseBytes;
    if (full || i === 0 || i === last) {
      before += filled;
      filled = 0;
      groups.push([]);
    }
    groups.at(-1)!.push(gradient);
    filled += bytes;
    behind -= bytes;
  }
  return groups.map((group, index) => {
    let length = 0;
    const parts = group.map(({ parameter, shape }): BucketPart => {
      const offset = length;
      length += alignElements(sizeOf(shape));
      return { parameter, offset, shape };
    });
    const name = `${compressed ? "compressed" : "bucket"} ${index}: ${contents(parts)}`;
    return { name, length, parts, ...(compressed ? { compressed } : {}) };
  });
}

/** "layer/4/weight … layer/1/bias". */
function contents(parts: readonly BucketPart[]): string {
  const short = (name: string): string => (name.length > NAME_LENGTH ? `…${name.slice(1 - NAME_LENGTH)}` : name);
  const [first, last] = [parts[0]!.parameter, parts.at(-1)!.parameter];
  return `${short(first)}${parts.length === 1 ? "" : ` … ${short(last)}`}`;
}
