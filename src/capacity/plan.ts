// From the size of a model and the hosts at hand to servers, workers, traffic and throughput. The formulas stand in
// docs/capacity.md under the same names.
import type { Constants } from "./constants.ts";
import { partitionMemory, type RowSpec, spilledBytes, spilledMemory } from "./memory.ts";

export interface PlanOptions {
  readonly features: number;
  readonly row: RowSpec;
  /** Ids that a sample looks up. */
  readonly idsPerSample: number;
  /** Numbers of a sample beside ids, and the widths of the hidden layers. */
  readonly dense: number;
  readonly hidden: readonly number[];
  /** Rows of a batch. */
  readonly batch: number;
  /** What is wanted; undefined: what the hosts give. */
  readonly samplesPerSecond?: number | undefined;
  /** Undefined: as many as are needed. */
  readonly servers?: number | undefined;
  readonly workers?: number | undefined;
  /** Of a host. */
  readonly cores: number;
  readonly memoryBytes: number;
  /** Of a host's network and disk, bytes a second each way. */
  readonly networkBytes: number;
  readonly diskBytes: number;
  /** Share of the rows that stays in memory; the others lie on the servers' disks. */
  readonly inMemory: number;
  /** Bytes of a number on the wire. */
  readonly wireBytes: 2 | 4;
  /** Whether servers keep a journal. */
  readonly journal: boolean;
  /** Batches that go out in one push: at least the trainer threads of a process, more where servers are slower. Default 8. */
  readonly mergedBatches?: number;
  readonly constants: Constants;
}

/** A reason for a number of hosts. */
export interface Need {
  readonly reason: string;
  readonly hosts: number;
}

/** How many samples a second something lets through. */
export interface Limit {
  readonly resource: string;
  readonly samplesPerSecond: number;
}

export interface Plan {
  readonly parameters: number;
  readonly rowBytes: number;
  readonly servers: { readonly count: number; readonly partitionsEach: number; readonly needs: readonly Need[] };
  /** Hosts, and processes on each: a process has one thread that speaks with servers. */
  readonly workers: {
    readonly count: number;
    readonly processesEach: number;
    readonly threadsEach: number;
    readonly needs: readonly Need[];
  };
  /** Of the tables on all servers, and on the fullest of them. */
  readonly memory: { readonly total: number; readonly perServer: number; readonly perRow: number };
  readonly disk: {
    readonly spilled: number;
    readonly checkpoint: number;
    readonly checkpointSeconds: number;
    readonly journalBytesPerSecond: number;
  };
  /** Bytes a sample: from servers, to servers. */
  readonly traffic: { readonly pulled: number; readonly pushed: number };
  readonly samplesPerSecond: number;
  /** From the tightest on. */
  readonly limits: readonly Limit[];
  /** Whether the hosts that were given hold the tables. */
  readonly fits: boolean;
}

/** Of a host's memory for tables: the rest is for the system, requests and snapshots. */
const MEMORY_SHARE = 0.8;
/** Of a network's rate that is reached. */
const NETWORK_SHARE = 0.9;
/** The heap of a partition, and the share that its rows may take (server.ts, holdings.ts). */
const PARTITION_HEAP = 2 ** 32;
const PARTITION_SHARE = 0.6;
const PARTITION_OVERHEAD = 40;
/** What the constant `merged` was measured with. */
const MERGED_BATCHES = 8;

export function plan(options: PlanOptions): Plan {
  const { features, row, samplesPerSecond: wanted, diskBytes } = options;
  const costs = costsOf(options);
  const servers = serversOf(options, costs);
  const workers = workersOf(options, costs, servers.count);
  const limits = limitsOf(options, costs, servers.count, workers.count).sort(
    (a, b) => a.samplesPerSecond - b.samplesPerSecond,
  );
  const reached = Math.min(wanted ?? Number.POSITIVE_INFINITY, limits[0]!.samplesPerSecond);
  const each = hostMemory(options, servers.count);
  const checkpoint = features * row.savedBytes + 12 * costs.denseParameters;
  return {
    parameters: features * row.width + costs.denseParameters,
    rowBytes: row.strideBytes,
    servers: { ...servers, partitionsEach: each.partitions },
    workers,
    memory: {
      total: each.bytes * servers.count,
      perServer: each.bytes,
      perRow: (each.bytes * servers.count) / features,
    },
    disk: {
      spilled: (1 - options.inMemory) * features * spilledBytes(row.strideBytes),
      checkpoint,
      checkpointSeconds: checkpoint / servers.count / diskBytes,
      journalBytesPerSecond: options.journal ? reached * costs.pushed : 0,
    },
    traffic: { pulled: costs.pulled, pushed: costs.pushed },
    samplesPerSecond: reached,
    limits,
    fits: each.bytes <= options.memoryBytes * MEMORY_SHARE,
  };
}

interface Costs {
  /** Bytes a sample from servers and to them. */
  readonly pulled: number;
  readonly pushed: number;
  /** Seconds a sample of a partition's thread, and on workers of a trainer thread and of the thread that speaks with servers. */
  readonly server: number;
  readonly trainer: number;
  readonly communicator: number;
  readonly denseParameters: number;
}

function costsOf(options: PlanOptions): Costs {
  const { row, idsPerSample, dense, hidden, batch, wireBytes, constants, mergedBatches = MERGED_BATCHES } = options;
  const { pull, push, network, flops, distinct, merged } = constants;
  const { width, spec } = row;
  const pulledRows = idsPerSample * distinct;
  // Measured for 8 batches: each doubling leaves as large a share.
  const pushedRows = pulledRows * merged ** (Math.log(mergedBatches) / Math.log(MERGED_BATCHES));
  const inputs = idsPerSample * spec.fields[0]!.dim + dense;
  const layers = [inputs, ...hidden, 1];
  const products = hidden.reduce((sum, units, i) => sum + layers[i]! * units, 0) + hidden.at(-1)!;
  const denseParameters = products + hidden.reduce((sum, units) => sum + units, 0) + dense + 2;
  // Once pulled and once pushed for a few merged batches.
  const denseNumbers = denseParameters / (batch * mergedBatches);
  const denseBytes = wireBytes * denseNumbers;
  const pulled = pulledRows * wireBytes * width + denseBytes;
  const statistics = spec.fields.some(({ name }) => name === "_statistics") ? 8 : 0;
  const pushed = 8 * pulledRows + pushedRows * (8 + statistics + wireBytes * width) + denseBytes;
  const seconds = (cost: Constants["pull"]): number => (cost.rowNs + cost.numberNs * width) / 1e9;
  // Between hosts everything is encrypted.
  const wire = (pulled + pushed) / network.tls;
  return {
    ...{ pulled, pushed, denseParameters, communicator: wire },
    server: pulledRows * seconds(pull) + pushedRows * seconds(push) + (denseNumbers * push.numberNs) / 1e9 + wire,
    // Forward, and twice as much backward.
    trainer: (3 * 2 * products) / flops,
  };
}

/** Tables of a host, and into how many partitions they are cut so that each fits its heap. */
function hostMemory(options: PlanOptions, servers: number): { bytes: number; partitions: number } {
  const { features, row, inMemory, cores } = options;
  const own = features / servers;
  const most = (PARTITION_SHARE * PARTITION_HEAP) / (row.strideBytes + PARTITION_OVERHEAD);
  const partitions = Math.max(cores, Math.ceil((own * inMemory) / most));
  const each = own / partitions;
  const memory = partitionMemory(each * inMemory, row.strideBytes).total + spilledMemory(each * (1 - inMemory));
  return { bytes: partitions * memory, partitions };
}

function serversOf(options: PlanOptions, costs: Costs): { count: number; needs: Need[] } {
  const { features, row, inMemory, memoryBytes, samplesPerSecond, networkBytes, diskBytes, cores, journal } = options;
  const usable = memoryBytes * MEMORY_SHARE;
  let byMemory = Math.max(1, Math.floor((features * inMemory * row.strideBytes) / usable));
  while (hostMemory(options, byMemory).bytes > usable) byMemory = Math.max(byMemory + 1, Math.ceil(byMemory * 1.01));
  const needs: Need[] = [{ reason: "memory of the tables", hosts: byMemory }];
  if (samplesPerSecond !== undefined) {
    const need = (reason: string, hosts: number): number =>
      needs.push({ reason, hosts: Math.max(1, Math.ceil(hosts)) });
    need("cores of the servers", (samplesPerSecond * costs.server) / cores);
    need("network of the servers", (samplesPerSecond * busier(costs)) / (networkBytes * NETWORK_SHARE));
    if (journal) need("disks of the servers", (samplesPerSecond * costs.pushed) / diskBytes);
  }
  return { count: options.servers ?? Math.max(...needs.map(({ hosts }) => hosts)), needs };
}

const busier = ({ pulled, pushed }: Costs): number => Math.max(pulled, pushed);

function workersOf(options: PlanOptions, costs: Costs, servers: number): Plan["workers"] {
  const { samplesPerSecond, cores, networkBytes } = options;
  const computing = costs.trainer + costs.communicator;
  const processesEach = Math.min(cores, Math.ceil((cores / computing) * costs.communicator));
  const threadsEach = Math.max(1, Math.floor(cores / processesEach));
  const each = { processesEach, threadsEach };
  if (samplesPerSecond === undefined) return { count: options.workers ?? servers, ...each, needs: [] };
  const needs = [
    { reason: "cores of the workers", hosts: (samplesPerSecond * computing) / cores },
    { reason: "network of the workers", hosts: (samplesPerSecond * busier(costs)) / (networkBytes * NETWORK_SHARE) },
  ].map(({ reason, hosts }) => ({ reason, hosts: Math.max(1, Math.ceil(hosts)) }));
  return { count: options.workers ?? Math.max(...needs.map(({ hosts }) => hosts)), ...each, needs };
}

function limitsOf(options: PlanOptions, costs: Costs, servers: number, workers: number): Limit[] {
  const { cores, networkBytes, diskBytes, journal } = options;
  const network = (networkBytes * NETWORK_SHARE) / busier(costs);
  const limit = (resource: string, samplesPerSecond: number): Limit => ({ resource, samplesPerSecond });
  return [
    limit("cores of the workers", (workers * cores) / (costs.trainer + costs.communicator)),
    limit("network of the workers", workers * network),
    limit("cores of the servers", (servers * cores) / costs.server),
    limit("network of the servers", servers * network),
    ...(journal ? [limit("disks of the servers", (servers * diskBytes) / costs.pushed)] : []),
  ];
}
