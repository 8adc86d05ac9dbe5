// For tests: a Slurm cluster of several nodes on this machine, in a temporary folder, on loopback only. No service of the
// system is touched.
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { accessSync, chmodSync, constants, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const execute = promisify(execFile);
const folders = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin"];

function find(name: string): string | undefined {
  return folders
    .map((folder) => join(folder || ".", name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Why there can be no cluster here; undefined when there can. */
export function whyNoSlurm(): string | undefined {
  const missing = ["slurmctld", "slurmd", "munged", "srun", "sbatch"].filter((name) => find(name) === undefined);
  if (missing.length > 0) return `${missing.join(", ")} not installed`;
  return process.getuid?.() === 0 ? undefined : "Slurm's daemons need root";
}

/** Why a program cannot be tried; undefined when it can. */
export function whyNot(name: string): string | undefined {
  return find(name) === undefined ? `${name} not installed` : undefined;
}

export interface SlurmCluster {
  /** What programs need to find it. */
  readonly env: Readonly<Record<string, string>>;
  readonly folder: string;
  stop(): Promise<void>;
}

/** Nodes n1, n2, … of 4 processors each, which are processes here. */
export async function startSlurm(nodes: number): Promise<SlurmCluster> {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-slurm-"));
  const at = (...path: string[]): string => join(folder, ...path);
  for (const name of ["state", "log", "munge", ...nodeNames(nodes).map((node) => `tmp-${node}`)]) mkdirSync(at(name));
  chmodSync(folder, 0o755);
  writeFileSync(at("munge", "key"), randomBytes(1024), { mode: 0o600 });
  chmodSync(at("munge"), 0o700);
  const ports = await freePorts(nodes + 1);
  writeFileSync(at("slurm.conf"), configuration(folder, nodes, ports));
  const env = { SLURM_CONF: at("slurm.conf") };
  const daemons: (() => void)[] = [];
  const start = (name: string, args: readonly string[]): void => {
    const child = spawn(find(name)!, args, { env: { ...process.env, ...env }, stdio: "ignore" });
    daemons.push(() => child.kill("SIGTERM"));
  };
  const stop = async (): Promise<void> => {
    await execute("scancel", ["--user", "root"], { env: { ...process.env, ...env } }).catch(() => {});
    for (const kill of daemons.reverse()) kill();
    await sleep(200);
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  };
  start("munged", [
    ...["--foreground", "--force", `--socket=${at("munge", "socket")}`, `--key-file=${at("munge", "key")}`],
    ...[`--pid-file=${at("munge", "pid")}`, `--log-file=${at("munge", "log")}`, `--seed-file=${at("munge", "seed")}`],
  ]);
  start("slurmctld", ["-D", "-c"]);
  for (const node of nodeNames(nodes)) start("slurmd", ["-D", "-N", node]);
  for (let tries = 0; tries < 300; tries++) {
    const idle = await execute("sinfo", ["-h", "-t", "idle", "-o", "%D"], { env: { ...process.env, ...env } }).catch(
      () => ({ stdout: "" }),
    );
    if (idle.stdout.trim() === String(nodes)) return { env, folder, stop };
    await sleep(100);
  }
  const log = readFileSync(at("log", "slurmctld"), "utf8").split("\n").slice(-10).join("\n");
  await stop();
  throw new Error(`Slurm did not come up:\n${log}`);
}

const nodeNames = (nodes: number): string[] => Array.from({ length: nodes }, (_, i) => `n${i + 1}`);

function configuration(folder: string, nodes: number, [control, ...ports]: readonly number[]): string {
  const host = hostname().split(".")[0];
  const node = (name: string, i: number): string =>
    `NodeName=${name} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${ports[i]} CPUs=4 RealMemory=1000`;
  return `ClusterName=test
SlurmctldHost=${host}(127.0.0.1)
SlurmctldPort=${control}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=${folder}/munge/socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=${folder}/state
SlurmdSpoolDir=${folder}/spool-%n
TmpFS=${folder}/tmp-%n
SlurmctldPidFile=${folder}/slurmctld.pid
SlurmdPidFile=${folder}/slurmd-%n.pid
SlurmctldLogFile=${folder}/log/slurmctld
SlurmdLogFile=${folder}/log/slurmd-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1
ReturnToService=2
KillWait=2
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
${nodeNames(nodes).map(node).join("\n")}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`;
}

/** Free at this moment; Slurm cannot be told to let the system choose. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
