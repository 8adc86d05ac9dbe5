// `flotilla bench-collectives`: MB/s of collectives by size and algorithm, like nccl-tests.
import { type Algorithm, algorithmsOf, type Collective } from "../collective/index.ts";
import {
  busFactor,
  type Measured,
  type MeasuredTransport,
  measureCollectives,
  measuredTransports,
  type TimedCall,
} from "../collective/measure/index.ts";
import { formatBytes, formatTable } from "../report/index.ts";
import { oneOf, UsageError } from "./usage.ts";

export interface BenchCollectivesFlags {
  readonly ranks: number;
  readonly transport: string;
  readonly collective: string;
  readonly algorithms?: string;
  readonly groupSize?: number;
  readonly wire: string;
  readonly minBytes: number;
  readonly maxBytes: number;
  readonly seconds: number;
  readonly json?: boolean;
}

const FLOAT_BYTES = 4;
/** Bytes a second that are assumed to choose how often to repeat. */
const ASSUMED_RATE = 1e9;
const MOST_TIMES = 1000;

/** Returns the exit code. */
export async function benchCollectives(flags: BenchCollectivesFlags): Promise<number> {
  const { ranks } = flags;
  const transport = oneOf("--transport", flags.transport, measuredTransports);
  const collective = oneOf("--collective", flags.collective, Object.keys(algorithmsOf) as Collective[]);
  const wire = oneOf("--wire", flags.wire, ["f32", "bf16", "f16"] as const);
  if (flags.minBytes > flags.maxBytes) throw new UsageError("--min-bytes must not be above --max-bytes");
  if (!(flags.seconds > 0)) throw new UsageError(`--seconds must be a number above 0, got ${flags.seconds}`);
  const groupSize = flags.groupSize ?? groupOf(ranks);
  const algorithms = chosen(flags.algorithms, collective).filter(
    (algorithm) => flags.algorithms !== undefined || possible(algorithm, { transport, ranks, groupSize, wire }),
  );
  const calls = sizes(flags.minBytes, flags.maxBytes).flatMap((bytes) =>
    algorithms.map((algorithm): TimedCall => {
      const count = collective === "barrier" ? 0 : Math.ceil(bytes / FLOAT_BYTES / ranks) * ranks;
      const times = Math.min(MOST_TIMES, Math.max(3, Math.ceil((flags.seconds * ASSUMED_RATE) / (bytes + 50_000))));
      const grid = algorithm === "hierarchical" || algorithm === "torus" ? { groupSize } : {};
      return { collective, count, algorithm, wire, times, ...grid };
    }),
  );
  const measured = await measureCollectives({
    ranks,
    transport,
    calls: collective === "barrier" ? calls.slice(0, 1) : calls,
  });
  const figures = measured.map((line) => figuresOf(line, ranks));
  if (flags.json) {
    console.log(JSON.stringify({ ranks, transport, collective, wire, figures }, null, 2));
    return 0;
  }
  const title = `${collective}, ${ranks} ranks, ${transport}${wire === "f32" ? "" : `, ${wire} on the wire`}`;
  console.log(formatTable(figures.map(rowOf), { title }));
  return 0;
}

interface Figures {
  readonly bytes: number;
  readonly algorithm: Algorithm;
  readonly seconds: number;
  readonly algbw: number;
  readonly busbw: number;
}

function figuresOf({ call, algorithm, seconds }: Measured, ranks: number): Figures {
  const bytes = FLOAT_BYTES * call.count;
  const middle = seconds.toSorted((a, b) => a - b)[seconds.length >> 1]!;
  const algbw = bytes / middle / 1e6;
  return { bytes, algorithm, seconds: middle, algbw, busbw: algbw * busFactor(call.collective, ranks) };
}

function rowOf({ bytes, algorithm, seconds, algbw, busbw }: Figures): Record<string, string | number> {
  return {
    size: formatBytes(bytes),
    algorithm,
    "time µs": Math.round(seconds * 1e6),
    "algbw MB/s": Math.round(algbw),
    "busbw MB/s": Math.round(busbw),
  };
}

function chosen(text: string | undefined, collective: Collective): Algorithm[] {
  const known = algorithmsOf[collective];
  if (text === undefined) return [...known];
  return text.split(",").map((name) => oneOf("--algorithms", name, known));
}

function possible(
  algorithm: Algorithm,
  {
    transport,
    ranks,
    groupSize,
    wire,
  }: { transport: MeasuredTransport; ranks: number; groupSize: number; wire: string },
): boolean {
  if (algorithm === "shared") return (transport === "threads" || transport === "shared") && wire === "f32";
  if (algorithm === "hierarchical" || algorithm === "torus")
    return ranks % groupSize === 0 && groupSize < ranks && groupSize > 1;
  return true;
}

/** The divisor nearest to the square root from below. */
function groupOf(ranks: number): number {
  let best = 1;
  for (let divisor = 1; divisor * divisor <= ranks; divisor++) if (ranks % divisor === 0) best = divisor;
  return best;
}

/** Powers of four times the smallest, and the largest. */
function sizes(min: number, max: number): number[] {
  const found: number[] = [];
  for (let bytes = min; bytes < max; bytes *= 4) found.push(bytes);
  return [...found, max];
}
