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

/** Viewers take process 0 and thread 0 for the system's own, so that both count from 1. */
const processOf = (rank: number): number => rank + 1;
const TRAINER = 1;
const streamRow = (stream: number): number => TRAINER + 1 + stream;

interface Span {
  readonly ph: "X";
  readonly name: string;
  readonly cat: string;
  readonly pid: number;
  readonly tid: number;
  /** Whole microseconds: rounded alike, what lies within another span stays within it, as viewers need it. */
  readonly ts: number;
  readonly dur: number;
}

/** The text of a trace file. Times count from the first event of all. */
export function chromeTrace(ranks: readonly RankTrace[]): string {
  const first = ranks.reduce(
    (least, { events }) => events.reduce((time, { start }) => Math.min(time, start), least),
    Number.POSITIVE_INFINITY,
  );
  const spans = ranks.flatMap((rank) => rank.events.map((event) => spanOf(rank, event, first)));
  // What encloses others comes before them.
  spans.sort((a, b) => a.ts - b.ts || b.dur - a.dur);
  return JSON.stringify({ traceEvents: [...ranks.flatMap(rowsOf), ...spans], displayTimeUnit: "ms" });
}

function rowsOf({ rank, calls }: RankTrace): object[] {
  const row = (name: string, tid: number, args: object): object => ({
    ...{ ph: "M", name, pid: processOf(rank), tid, args },
  });
  const streams = [...new Set(calls.map(({ stream }) => stream))];
  return [
    row("process_name", TRAINER, { name: `rank ${rank}` }),
    row("process_sort_index", TRAINER, { sort_index: rank }),
    row("thread_name", TRAINER, { name: "trainer" }),
    ...streams.map((stream) => row("thread_name", streamRow(stream), { name: `communication ${stream}` })),
  ];
}

/** Name, category and row of an event. */
function labelOf(
  { groups, calls }: RankTrace,
  { kind, index }: TimelineEvent,
): [name: string, cat: string, tid: number] {
  const call = calls[index];
  switch (kind) {
    case Kind.compute:
      return [groups[index] ?? "step", "compute", TRAINER];
    case Kind.update:
      return ["update", "compute", TRAINER];
    case Kind.step:
      return [`step ${index}`, "step", TRAINER];
    case Kind.wait:
      return [`wait for ${call?.name}`, "wait", TRAINER];
    default:
      return [call?.name ?? "", "wire", streamRow(call?.stream ?? 0)];
  }
}

function spanOf(trace: RankTrace, event: TimelineEvent, first: number): Span {
  const { rank } = trace;
  const { start, end } = event;
  const [name, cat, tid] = labelOf(trace, event);
  const [ts, until] = [start, end].map((time) => Math.round(1000 * (time - first))) as [number, number];
  return { ph: "X", name, cat, pid: processOf(rank), tid, ts, dur: until - ts };
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
