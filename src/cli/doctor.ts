// `flotilla doctor`: what this machine has, how fast it multiplies matrices, and the command that makes it faster.
import { fetchOneDnn, type Machine, type Probe, type ProviderReport, probe } from "../engine/doctor/index.ts";
import { formatBytes, formatTable } from "../report/index.ts";
import { shown } from "./data-source.ts";
import { commandName } from "./usage.ts";

export interface DoctorFlags {
  readonly fix?: boolean;
  readonly json?: boolean;
  readonly seconds: number;
}

/** Returns the exit code: 1 when a fix was asked for and failed. */
export async function doctor({ fix = false, json = false, seconds }: DoctorFlags): Promise<number> {
  const say = (text: string): void => {
    process.stderr.write(`${text}\n`);
  };
  let failed = false;
  if (fix) {
    const result = await fetchOneDnn({ log: (line) => say(line) });
    failed = !result.ok;
    if (!result.ok) say(`oneDNN could not be fetched: ${result.reason}`);
    else if (!result.fetched) say(`oneDNN ${result.version} is here already: ${result.path}`);
  }
  if (process.stderr.isTTY && seconds > 0) process.stderr.write("measuring …");
  const found = await probe({ seconds });
  if (process.stderr.isTTY && seconds > 0) process.stderr.write("\r\x1b[2K");
  console.log(json ? JSON.stringify(found, null, 2) : reportOf(found));
  return failed ? 1 : 0;
}

function reportOf({ machine, providers, selected }: Probe): string {
  const advice = providers.flatMap((provider) => adviceOf(provider));
  const table = formatTable(providers.map((provider) => rowOf(provider, machine.cores)));
  const places = providers.filter(({ path }) => path !== undefined).map(({ name, path }) => `${name}: ${shown(path!)}`);
  const taken = `training takes ${selected}`;
  return [machineTable(machine), "", table, ...places, taken, ...advice].join("\n");
}

function machineTable({ cpu, features, cores, memoryBytes, node, relaxedSimd }: Machine): string {
  const names = { avx2: "AVX2", avx512f: "AVX-512", avx512Bf16: "AVX-512 bf16", amx: "AMX" } as const;
  const has = (Object.keys(names) as (keyof typeof names)[]).filter((name) => features?.[name]);
  const rows = {
    CPU: cpu,
    cores: String(cores),
    features:
      features === undefined ? undefined : has.map((name) => names[name]).join(", ") || "none of AVX2, AVX-512, AMX",
    memory: formatBytes(memoryBytes),
    Node: node,
    "WASM relaxed SIMD": relaxedSimd ? "yes" : "no",
  };
  const known = Object.entries(rows).filter(([, value]) => value !== undefined);
  return formatTable(known.map(([machine, value]) => ({ machine, value })));
}

function rowOf(
  { name, found, version, api, nativeBf16, gflops }: ProviderReport,
  cores: number,
): Record<string, string> {
  const speed = (value: number | undefined): string => (value === undefined ? "–" : value.toFixed(0));
  return {
    engine: name,
    found: found ? "yes" : "no",
    version: version ?? "–",
    API: api === undefined ? "–" : `v${api}`,
    bf16: nativeBf16 === undefined ? "–" : nativeBf16 ? "native" : "emulated",
    "GFLOP/s, 1 thread": speed(gflops?.oneThread),
    [`${cores} threads`]: speed(gflops?.allThreads),
  };
}

/** A problem without the words that the table around it says already. */
const bare = (problem: string): string => problem.replace(/^oneDNN: /, "").replaceAll("; see `flotilla doctor`", "");

/** What is wrong with a provider, and the command that mends it as the user would call it. */
function adviceOf({ name, problems, fix }: ProviderReport): string[] {
  const command = fix?.replace(/^flotilla /, `${commandName()} `);
  return [
    ...problems.map((problem) => `${name}: ${bare(problem)}`),
    ...(command === undefined ? [] : [`fix: ${command}`]),
  ];
}
