// A job whose processes this one starts, here or on hosts over ssh: it coordinates them until all have ended.
import { mkdtemp, readFile, rm, rmdir } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { Coordinator, listenAddress, type Place, reachableAddress, type World } from "../cluster/index.ts";
import { makeKeys } from "../net/index.ts";
import { controlHandlers, localControl } from "./control-service.ts";
import { LaunchError } from "./error.ts";
import { addressOf, allLoopback, type Host, placement, processesOn } from "./hosts.ts";
import { JobControl } from "./job-control.ts";
import { publishJob } from "./jobs.ts";
import { JobLog } from "./log.ts";
import { type Launch, scriptName } from "./options.ts";
import { startProcess } from "./processes.ts";
import { specOf } from "./programs.ts";
import { hasSsh, startRemote } from "./remote.ts";
import { onInterrupt } from "./signals.ts";
import { statusOf } from "./status.ts";
import { supervise } from "./supervise.ts";

/** A process that was stopped or starved is told by its launcher; only machines that are cut off are found by silence. */
const LOCAL_SILENCE_MS = 15_000;

/** @returns the exit code of the job */
export async function launchHere(launch: Launch): Promise<number> {
  const hosts = launch.hosts ?? [];
  if (hosts.length > 0 && !hasSsh()) throw new LaunchError("--hosts needs ssh, and there is none in PATH");
  const folder = await mkdtemp(join(tmpdir(), "flotilla-"));
  try {
    return await run(launch, hosts, folder);
  } finally {
    // Signals no longer matter, and must not keep files from being removed.
    using _ = onInterrupt(() => {});
    await rm(folder, { recursive: true, force: true });
    // Where servers have left no files.
    await rmdir(join(launch.cwd, ".flotilla", launch.job)).catch(() => {});
  }
}

async function run(launch: Launch, hosts: readonly Host[], folder: string): Promise<number> {
  const { job, workers, servers, restart, minWorkers } = launch;
  const log = new JobLog(launch);
  const say = (text: string): void => log.say(text);
  const control = new JobControl({ workers, servers, restart, say, ...(minWorkers !== undefined && { minWorkers }) });
  const base = await worldOf(launch, hosts, folder);
  const started = new Date();
  const coordinator: Coordinator = await Coordinator.start({
    address: listenAddress(base, "coordinator"),
    workers,
    servers,
    ...(base.keys !== undefined && { keys: base.keys }),
    ...(hosts.length === 0 && { silenceMs: LOCAL_SILENCE_MS }),
    handlers: controlHandlers(control, () =>
      statusOf({ job, script: scriptName(launch), started, control, coordinator }),
    ),
    onEvent: ({ kind, text }) => {
      if (kind === "stalled") say(text);
    },
    onError: (error) => say(error.message),
  });
  const address = reachableAddress(base, coordinator.address);
  const forget = await publishJob({
    ...{ job, pid: process.pid, host: hostname(), address, script: scriptName(launch), started: started.toISOString() },
    ...(base.keys !== undefined && { keys: base.keys }),
  });
  using _ = onInterrupt((signal) => control.interrupt(signal, signal));
  try {
    const places = placesOf(launch, hosts);
    await Promise.all(
      [...places].map(([place, host]) =>
        supervise({
          ...{ place, attempt: 0, log, graceMs: launch.graceMs },
          start: (attempt) => start(launch, { ...base, ...place, attempt, coordinator: address }, host, places),
          control: tellingDeaths(localControl(control), coordinator),
        }),
      ),
    );
  } finally {
    await forget();
    await coordinator.close();
  }
  return control.exitCode;
}

/** What all processes have in common, as worker 0 sees it. */
async function worldOf(launch: Launch, hosts: readonly Host[], folder: string): Promise<World> {
  const { job, workers, servers } = launch;
  const common = { job, role: "worker", rank: 0, workers, servers, attempt: 0 } as const;
  if (hosts.length === 0) return { ...common, folder };
  const host = launch.address ?? (allLoopback(hosts) ? "127.0.0.1" : hostname());
  const keys = launch.keys ?? join(folder, "keys");
  if (launch.keys === undefined) await makeKeys({ folder: keys, hosts: [host, ...hosts.map(addressOf)] });
  return { ...common, host, keys };
}

/** Servers first: workers wait for them. */
function placesOf({ servers, workers }: Launch, hosts: readonly Host[]): Map<Place, Host | undefined> {
  const places = new Map<Place, Host | undefined>();
  for (const role of ["server", "worker"] as const) {
    const count = role === "server" ? servers : workers;
    const on = placement(count, hosts);
    for (let rank = 0; rank < count; rank++) places.set({ role, rank }, on[rank]);
  }
  return places;
}

async function start(
  launch: Launch,
  world: World,
  host: Host | undefined,
  places: ReadonlyMap<Place, Host | undefined>,
): ReturnType<typeof startRemote> {
  const sharing = processesOn(host, world.role, places);
  if (host === undefined) return startProcess(specOf(launch, world, sharing), "pipe");
  const { keys, ...rest } = world;
  const spec = specOf(launch, { ...rest, host: addressOf(host) }, sharing);
  const names = ["ca.pem", `${world.role}.pem`];
  const texts = await Promise.all(
    names.map(async (name) => [name, await readFile(join(keys!, name), "utf8")] as const),
  );
  return await startRemote({ ...spec, keys: Object.fromEntries(texts) }, host);
}

/** The launcher sees the end of a process before anybody else does. */
function tellingDeaths(
  control: ReturnType<typeof localControl>,
  coordinator: Coordinator,
): ReturnType<typeof localControl> {
  return {
    ...control,
    async ended(place, end) {
      const decision = await control.ended(place, end);
      coordinator.declareDead(
        place,
        end.attempt,
        end.signal === null ? `ended with code ${end.code}` : `was killed by ${end.signal}`,
      );
      return decision;
    },
  };
}
