// A Chrome trace of all ranks (the Trace Event Format of chrome://tracing and Perfetto): a process for each rank, a row for
// what its trainer thread does and one for each communication thread.
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import type { Membership } from "../../cluster/index.ts";
import { Kind, type TimelineEvent } from "./timeline.ts";

const compress = promisify(gzip);
const decompress = promisify(gunzip);
const MOST_BYTES = 2 ** 28;

export interface RankTrace {
  readonly rank: number;
  readonly events: readonly TimelineEvent[];
  /** Names of the parts of the model, and of the collectives with the streams that carry them. */
  readonly groups: readonly string[];
  readonly calls: readonly { readonly name: string; readonly stream: number }[];
}

const TRAINER = 0;
const streamRow = (stream: number): number => stream + 1;

/** The text of a trace file. Times count from the first event of all. */
export function chromeTrace(ranks: readonly RankTrace[]): string {
  const first = ranks.reduce(
    (least, { events }) => events.reduce((time, { start }) => Math.min(time, start), least),
    Number.POSITIVE_INFINITY,
  );
  const list = ranks.flatMap((rank) => [...rowsOf(rank), ...rank.events.map((event) => spanOf(rank, event, first))]);
  return JSON.stringify({ traceEvents: list, displayTimeUnit: "ms" });
}

function rowsOf({ rank, calls }: RankTrace): object[] {
  const named = (kind: string, name: string, tid = 0): object => ({
    ...{ ph: "M", name: kind, pid: rank, tid, args: { name } },
  });
  const streams = [...new Set(calls.map(({ stream }) => stream))];
  return [
    named("process_name", `rank ${rank}`),
    named("thread_name", "trainer", TRAINER),
    ...streams.map((stream) => named("thread_name", `communication ${stream}`, streamRow(stream))),
  ];
}

function spanOf({ rank, groups, calls }: RankTrace, { kind, index, start, end }: TimelineEvent, first: number): object {
  const call = calls[index];
  const [name, category, tid] =
    kind === Kind.compute
      ? [groups[index] ?? "step", "compute", TRAINER]
      : kind === Kind.update
        ? ["update", "compute", TRAINER]
        : kind === Kind.wait
          ? [`wait for ${call?.name}`, "wait", TRAINER]
          : [call?.name ?? "", "wire", streamRow(call?.stream ?? 0)];
  return { ph: "X", name, cat: category, pid: rank, tid, ts: 1000 * (start - first), dur: 1000 * (end - start) };
}

/** Brings the traces of all ranks to rank 0; undefined on the others. */
export async function gatherTraces(
  member: Pick<Membership, "set" | "get"> | undefined,
  { workers, key }: { readonly workers: number; readonly key: string },
  own: RankTrace,
): Promise<RankTrace[] | undefined> {
  if (member === undefined || workers === 1) return [own];
  if (own.rank > 0) {
    await member.set(`${key}/${own.rank}`, await compress(JSON.stringify(own)));
    return undefined;
  }
  const others = Array.from({ length: workers - 1 }, async (_, i) => {
    const bytes = await decompress(await member.get(`${key}/${i + 1}`), { maxOutputLength: MOST_BYTES });
    return JSON.parse(bytes.toString()) as RankTrace;
  });
  return [own, ...(await Promise.all(others))];
}
