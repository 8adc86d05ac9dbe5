// `flotilla plan`: flags to the options of a plan, and the plan for people.
import {
  type Constants,
  defaultConstants,
  loadConstants,
  measureConstants,
  type Plan,
  type PlanOptions,
  plan,
  rowSpec,
  storeConstants,
} from "../capacity/index.ts";
import { formatBytes, formatCount, formatRate, formatSeconds, formatTable } from "../report/index.ts";
import { parseOptimizerOption } from "./settings.ts";
import { UsageError } from "./usage.ts";

export interface PlanFlags {
  readonly features?: number;
  readonly dim?: number;
  readonly linear: boolean;
  readonly statistics: boolean;
  readonly optimizer?: string;
  readonly idsPerSample?: number;
  readonly dense?: number;
  readonly hidden?: readonly number[];
  readonly batch?: number;
  readonly samplesPerSecond?: number;
  readonly servers?: number;
  readonly workers?: number;
  readonly cores?: number;
  readonly hostsMemory?: number;
  /** Bits a second. */
  readonly network?: number;
  readonly disk?: number;
  readonly inMemory?: number;
  readonly wire?: "f32" | "f16";
  readonly durability?: "journal" | "snapshot" | "none";
  readonly measure?: boolean;
  readonly json?: boolean;
}

/** Returns 1 where the hosts that were given do not hold the tables. */
export async function planCommand(flags: PlanFlags): Promise<number> {
  const { features, dim, json = false, measure = false } = flags;
  if ((features === undefined) !== (dim === undefined) || (features === undefined && !measure)) {
    throw new UsageError("give --features N and --dim N: how many rows the tables have, and how wide they are");
  }
  const constants = measure ? await measured() : (loadConstants() ?? defaultConstants);
  if (features === undefined || dim === undefined) {
    console.log(json ? JSON.stringify(constants, null, 2) : formatConstants(constants));
    return 0;
  }
  const options = optionsOf(flags, features, dim, constants);
  const found = plan(options);
  console.log(json ? JSON.stringify({ ...found, constants }, null, 2) : formatPlan(found, options, flags));
  return found.fits ? 0 : 1;
}

async function measured(): Promise<Constants> {
  const say = (text: string): void => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`);
  };
  const constants = await measureConstants({ onStep: (what) => say(`measuring ${what} …`) });
  say("");
  storeConstants(constants);
  return constants;
}

function optionsOf(flags: PlanFlags, features: number, dim: number, constants: Constants): PlanOptions {
  const optimizer = parseOptimizerOption("--optimizer", flags.optimizer ?? "adagrad");
  const { linear, statistics, network = 25e9, wire = "f32", durability = "journal" } = flags;
  return {
    features,
    row: rowSpec({ dim, linear, statistics, optimizer }),
    idsPerSample: flags.idsPerSample ?? 26,
    dense: flags.dense ?? 13,
    hidden: flags.hidden ?? [400, 400, 400],
    batch: flags.batch ?? 512,
    samplesPerSecond: flags.samplesPerSecond,
    servers: flags.servers,
    workers: flags.workers,
    cores: flags.cores ?? 32,
    memoryBytes: flags.hostsMemory ?? 256e9,
    networkBytes: network / 8,
    diskBytes: flags.disk ?? 1e9,
    inMemory: Math.min(1, flags.inMemory ?? 1),
    wireBytes: wire === "f32" ? 4 : 2,
    journal: durability === "journal",
    constants,
  };
}

function formatPlan(found: Plan, options: PlanOptions, { optimizer = "adagrad", statistics }: PlanFlags): string {
  const { servers, workers, memory, disk, traffic, limits, samplesPerSecond } = found;
  const { features, row, memoryBytes, samplesPerSecond: wanted, servers: given, inMemory } = options;
  const title =
    `${formatCount(features)} features × ${row.width} weights = ${formatCount(found.parameters)} parameters, ` +
    `${optimizer}${statistics ? ", statistics" : ""}: ${found.rowBytes} bytes a row, ${Math.round(memory.perRow)} with key and index`;
  const rows = [
    { what: "servers", needed: `${servers.count} hosts, ${servers.partitionsEach} partitions each` },
    {
      what: "workers",
      needed: `${workers.count} hosts, ${workers.processesEach} processes of ${workers.threadsEach} threads each`,
    },
    {
      what: "memory",
      needed: `${formatBytes(memory.total)}, ${formatBytes(memory.perServer)} a server of ${formatBytes(memoryBytes)}`,
    },
    ...(inMemory < 1
      ? [
          {
            what: "rows on disk",
            needed: `${formatBytes(disk.spilled)}, ${formatBytes(disk.spilled / servers.count)} a server`,
          },
        ]
      : []),
    {
      what: "checkpoint",
      needed: `${formatBytes(disk.checkpoint)}, ${formatSeconds(disk.checkpointSeconds)} on all servers at once`,
    },
    { what: "journal", needed: `${formatBytes(disk.journalBytesPerSecond / servers.count)}/s a server` },
    {
      what: "traffic",
      needed: `${formatBytes(traffic.pulled)} pulled and ${formatBytes(traffic.pushed)} pushed a sample`,
    },
    { what: "samples/s", needed: formatRate(samplesPerSecond) },
  ];
  const needs = [
    ...servers.needs.map((need) => ({ ...need, of: "servers" })),
    ...workers.needs.map((need) => ({ ...need, of: "workers" })),
  ]
    .filter(({ of }) => of !== "servers" || given === undefined || wanted !== undefined)
    .map(({ of, reason, hosts }) => ({ hosts: `${hosts} ${of}`, "are needed for": reason }));
  const ceilings = limits.map(({ resource, samplesPerSecond }) => ({
    resource,
    "samples/s": formatRate(samplesPerSecond),
  }));
  const lines = [
    formatTable(rows, { title }),
    formatTable(needs),
    formatTable(ceilings),
    `bottleneck: ${bottleneckOf(found, options)}`,
    `constants: ${options.constants.source}${options.constants === defaultConstants ? "; --measure measures this machine" : ""}`,
  ];
  if (!found.fits)
    lines.push(
      `the tables do not fit: ${given} servers have ${formatBytes(0.8 * memoryBytes)} each for them, ${formatBytes(memory.perServer)} are needed`,
    );
  return lines.join("\n");
}

function bottleneckOf({ limits, samplesPerSecond }: Plan, { samplesPerSecond: wanted }: PlanOptions): string {
  const [first] = limits;
  if (wanted !== undefined && samplesPerSecond === wanted) {
    return `none: ${first!.resource} would let ${formatRate(first!.samplesPerSecond)} through`;
  }
  return `${first!.resource}${wanted === undefined ? "" : `, ${formatRate(wanted)} were asked for`}`;
}

function formatConstants({ source, pull, push, network, flops, distinct, merged }: Constants): string {
  const rate = ({ rowNs, numberNs }: Constants["pull"], width: number): string =>
    formatRate(1e9 / (rowNs + numberNs * width));
  const rows = [
    { what: "rows of 16 numbers pulled, a partition", measured: rate(pull, 16) },
    { what: "rows of 16 numbers pushed, a partition", measured: rate(push, 16) },
    { what: "remote calls, unix socket", measured: `${formatBytes(network.unix)}/s` },
    { what: "remote calls, tcp", measured: `${formatBytes(network.tcp)}/s` },
    { what: "remote calls, tls", measured: `${formatBytes(network.tls)}/s` },
    { what: "training of a DeepFM, a thread", measured: `${formatCount(flops)} flop/s` },
    { what: "distinct ids of a batch", measured: distinct.toFixed(3) },
    { what: "of them left when 8 batches merge", measured: merged.toFixed(3) },
  ];
  return formatTable(rows, { title: source });
}
