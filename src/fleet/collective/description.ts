// Ranks must train the same program. They compare what they are about to do before the first step, and learn the difference.
import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import type { Membership } from "../../cluster/index.ts";

const compress = promisify(gzip);
const decompress = promisify(gunzip);
/** Lines of a difference that are shown. */
const SHOWN = 4;
const MOST_BYTES = 2 ** 26;

export interface Place {
  readonly rank: number;
  readonly workers: number;
}

/**
 * @param key the same on all ranks, another one for each comparison
 * @param text what all ranks must agree on, a line for each thing
 * @throws Error on every rank where two texts differ, with the first lines that do
 */
export async function expectSame(
  member: Pick<Membership, "set" | "get">,
  { rank, workers }: Place,
  key: string,
  text: string,
): Promise<void> {
  const own = createHash("sha256").update(text).digest("hex");
  await member.set(`${key}/${rank}`, own);
  const hashes = await Promise.all(
    Array.from({ length: workers }, async (_, peer) => Buffer.from(await member.get(`${key}/${peer}`)).toString()),
  );
  if (hashes.every((hash) => hash === own)) return;
  await member.set(`${key}/text/${rank}`, await compress(text));
  const other = hashes.findIndex((hash) => hash !== own);
  const theirs = await decompress(await member.get(`${key}/text/${other}`), { maxOutputLength: MOST_BYTES });
  throw new Error(
    `ranks ${rank} and ${other} are not about to train the same:\n${difference(text, theirs.toString(), rank, other)}\n` +
      "all ranks must make the same trainer, with the same model, optimizer and strategy",
  );
}

/** The first lines that differ, of both. */
function difference(own: string, theirs: string, rank: number, other: number): string {
  const [a, b] = [own.split("\n"), theirs.split("\n")];
  const places = Array.from({ length: Math.max(a.length, b.length) }, (_, i) => i).filter((i) => a[i] !== b[i]);
  const shown = places
    .slice(0, SHOWN)
    .flatMap((i) => [`  rank ${rank}: ${a[i] ?? "(nothing)"}`, `  rank ${other}: ${b[i] ?? "(nothing)"}`]);
  const more = places.length - SHOWN;
  return [...shown, ...(more > 0 ? [`  and ${more} more lines`] : [])].join("\n");
}
