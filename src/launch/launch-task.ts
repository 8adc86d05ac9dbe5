// A job whose tasks a scheduler has started, each with this command: every task runs one process of the job, and the first
// one coordinates them.
import { hostname } from "node:os";
import {
  announceHost,
  awaitRendezvous,
  type Coordinator,
  hasRendezvous,
  openRendezvous,
  type Place,
  reachableAddress,
  removeRendezvous,
  settleWorld,
  type Task,
  type World,
  worldOfTask,
} from "../cluster/index.ts";
import { RpcClient } from "../net/index.ts";
import { controlHandlers, localControl, RemoteControl, watchLost } from "./control-service.ts";
import { LaunchError } from "./error.ts";
import { JobControl } from "./job-control.ts";
import { publishJob } from "./jobs.ts";
import { JobLog } from "./log.ts";
import { type Launch, scriptName } from "./options.ts";
import { startProcess } from "./processes.ts";
import { specOf } from "./programs.ts";
import { onInterrupt } from "./signals.ts";
import { statusOf } from "./status.ts";
import { supervise } from "./supervise.ts";

/** How long tasks may be apart in time. */
const MEET_MS = 120_000;
const TRY_MS = 1000;
/** Without the first task for so long the job is over. */
const LOST_MS = 30_000;
/** The signal of a scheduler reaches all tasks within so long. */
const ECHO_MS = 3000;
/** How long the first task waits at the end for the others. */
const FAREWELL_MS = 10_000;

/** The first tasks are servers: task 0 coordinates, whatever it runs. */
function placeOf({ rank }: Task, { servers }: Launch): Place {
  return rank < servers ? { role: "server", rank } : { role: "worker", rank: rank - servers };
}

/** @returns the exit code of the job, the same in all tasks */
export async function launchAsTask(options: Launch, task: Task): Promise<number> {
  const { servers, workers } = options;
  const cpus = Number(process.env.SLURM_CPUS_PER_TASK);
  const launch = task.by === "Slurm" && cpus >= 1 ? { ...options, threads: options.threads ?? cpus } : options;
  if (task.size !== servers + workers) {
    throw new LaunchError(
      `${task.by} has started ${task.size} tasks, but ${servers} servers and ${workers} workers are ${servers + workers}; make them equal`,
    );
  }
  const place = placeOf(task, options);
  const world = await settleWorld(worldOfTask(task, { ...place, workers, servers }));
  const meeting = { size: task.size, rank: task.rank, timeoutMs: MEET_MS };
  if (hasRendezvous(world)) await announceHost(world, meeting);
  return task.rank === 0 ? await lead(launch, world, meeting) : await follow(launch, world);
}

async function lead(launch: Launch, world: World, meeting: Parameters<typeof openRendezvous>[1]): Promise<number> {
  const { job, attempt } = world;
  const { workers, servers, restart, minWorkers } = launch;
  const log = new JobLog(launch);
  const say = (text: string): void => log.say(text);
  const control = new JobControl({
    ...{ workers, servers, restart, attempt, say, echoMs: ECHO_MS },
    ...(minWorkers !== undefined && { minWorkers }),
  });
  const started = new Date();
  const lost = watchLost(control);
  const options: Parameters<typeof openRendezvous>[2] = {
    handlers: controlHandlers(control, () =>
      statusOf({ job, script: scriptName(launch), started, control, coordinator }),
    ),
    onEvent: (event) => {
      lost(event);
      if (event.kind === "stalled") say(event.text);
    },
    onError: (error) => say(error.message),
  };
  const coordinator: Coordinator = await openRendezvous(world, meeting, options);
  const address = reachableAddress(world, coordinator.address);
  const forget = await publishJob({
    ...{ job, pid: process.pid, host: world.host ?? hostname(), address },
    ...{ script: scriptName(launch), started: started.toISOString() },
    ...(world.keys !== undefined && { keys: world.keys }),
  });
  using _ = onInterrupt((signal) => control.interrupt(signal, signal));
  try {
    await superviseOwn(launch, world, address, localControl(control), log);
    await control.changes.wait(() => control.phase === "over", Number.POSITIVE_INFINITY);
    // The other tasks end their connections when they know how the job ended.
    await coordinator.deserted({ peers: true, timeoutMs: FAREWELL_MS });
  } finally {
    await coordinator.close();
    await forget();
    await removeRendezvous(world);
  }
  return control.exitCode;
}

async function follow(launch: Launch, world: World): Promise<number> {
  const log = new JobLog(launch);
  const lost = Promise.withResolvers<never>();
  let timer: NodeJS.Timeout | undefined;
  const connect = async (address: string): Promise<{ client: RpcClient; address: string }> => ({
    address,
    client: await RpcClient.connect({
      address,
      name: `launcher of ${world.role} ${world.rank}`,
      connectMs: TRY_MS,
      ...(world.keys !== undefined && { keys: { folder: world.keys, role: world.role } }),
      onDisconnect: (error) => {
        const late = (): void => lost.reject(new LaunchError(`the first task is gone: ${error.message}`));
        timer ??= setTimeout(late, LOST_MS);
      },
      onReconnect: () => {
        clearTimeout(timer);
        timer = undefined;
      },
    }),
  });
  const { client, address } = await awaitRendezvous(world, MEET_MS, connect);
  const control = new RemoteControl(client);
  using _ = onInterrupt((signal) => {
    control.interrupt(signal, signal).catch(() => {});
  });
  try {
    const work = superviseOwn(launch, world, address, control, log).then(() => control.over());
    return await Promise.race([work, lost.promise]);
  } finally {
    clearTimeout(timer);
    await client.close();
  }
}

function superviseOwn(
  launch: Launch,
  world: World,
  coordinator: string,
  control: Parameters<typeof supervise>[0]["control"],
  log: JobLog,
): Promise<void> {
  const { role, rank, attempt } = world;
  return supervise({
    ...{ place: { role, rank }, attempt, control, log, graceMs: launch.graceMs },
    start: (attempt) => startProcess(specOf(launch, { ...world, coordinator, attempt }, tasksHere(world)), "pipe"),
  });
}

/** How many tasks the scheduler has put on this machine: at most so many are of the role. */
function tasksHere({ role, workers, servers }: World, env: NodeJS.ProcessEnv = process.env): number {
  const text = env.OMPI_COMM_WORLD_LOCAL_SIZE ?? env.MPI_LOCALNRANKS ?? env.SLURM_STEP_TASKS_PER_NODE;
  return Math.min(role === "worker" ? workers : servers, Math.max(1, Number.parseInt(text ?? "1", 10) || 1));
}
