// The options and help of `flotilla launch`, `status` and `stop`, and the entries by which a launcher starts processes.
import type { Command } from "commander";
import type { LaunchFlags } from "./launch.ts";
import { realNumber, wholeNumber } from "./usage.ts";

/** @param exit receives the exit code of the command that ran */
export function addLaunchCommands(program: Command, exit: (code: number) => void): void {
  // What stands behind the script is the script's.
  program.enablePositionalOptions();
  const launch = program
    .command("launch")
    .summary("run a script as a job of many processes")
    .description(
      "Runs a script as a job of many processes: workers run it, servers hold partitions of tables. Restarts servers,\nshows all output, and ends with the exit code of the first process that failed.",
    )
    .usage("[options] SCRIPT [ARGS...]")
    .passThroughOptions()
    .argument("<script>", "the program of the workers, TypeScript or JavaScript; flotilla: the command itself")
    .argument("[args...]", "its arguments")
    .addHelpText(
      "after",
      `
Examples:
  flotilla launch --servers 2 --workers 2 --threads 2 ctr.ts
  flotilla launch --workers 4 mnist.ts --epochs 3          a collective job
  flotilla launch --hosts a,b:3 --workers 8 ctr.ts         over ssh, three quarters on b
  flotilla launch --slurm --servers 2 --workers 8 ctr.ts   on the nodes of a Slurm cluster
  flotilla launch --servers 1 --workers 2 flotilla word2vec train words.txt
  mpirun -n 4 flotilla launch --servers 2 --workers 2 ctr.ts`,
    )
    .action(async (script: string, args: string[], flags: LaunchFlags) =>
      exit(await (await import("./launch.ts")).launchCommand(script, args, flags)),
    );
  launch
    .optionsGroup("Processes:")
    .option("--servers <n>", "processes that hold partitions (default: 0)", wholeNumber(0, 100_000))
    .option("--workers <n>", "processes that run the script (default: 1)", wholeNumber(1, 100_000))
    .option("--threads <n>", "trainer threads of a worker (default: its part of the cores)", wholeNumber(1, 1024))
    .option("--server-threads <n>", "partitions of a server (default: as it chooses)", wholeNumber(1, 1024))
    .option("--restart <n>", "start each worker that failed again, up to N times (default: 0)", wholeNumber(0, 1000))
    .option("--min-workers <n>", "go on while N workers have not failed (default: all)", wholeNumber(1, 100_000))
    .option("--grace <seconds>", "time to end before processes are killed (default: 10)", realNumber(0, 3600, true))
    .option("--job <name>", "name of the job (default: the script's, and four digits)");
  launch
    .optionsGroup("Machines:")
    .option("--hosts <names>", "run over ssh on these hosts: a,b:4,user@c; :4 gives a host four times the share")
    .option("--hostfile <file>", "the same, a host a line, with slots=4 behind it")
    .option("--address <name>", "name of this machine for those hosts (default: its host name)")
    .option("--keys <dir>", "folder of `flotilla keys make` (default: made for this job)");
  launch
    .optionsGroup("Slurm:")
    .option("--slurm", "submit the job, follow its output and cancel it by Ctrl-C; in an allocation use it")
    .option("--nodes <n>", "nodes of the job", wholeNumber(1, 100_000))
    .option("--partition <name>", "partition of the cluster")
    .option("--time <limit>", "the most time it may take, as Slurm has it")
    .option("--sbatch <option...>", "further options, as --sbatch=--mem=4G");

  program
    .command("status")
    .summary("show running jobs")
    .description("Shows the processes of running jobs: where they run, what they do, how fast, how far behind.")
    .usage("[JOB] [options]")
    .argument("[job]", "name of a job (default: all)")
    .option("--json", "print it as JSON")
    .action(async (job: string | undefined, flags: { readonly json?: boolean }) =>
      exit(await (await import("./launch.ts")).statusCommand(job, flags)),
    );

  program
    .command("stop")
    .summary("end a running job")
    .description("Ends a running job as Ctrl-C does: workers first, so that they can save, then servers.")
    .usage("[JOB]")
    .argument("[job]", "name of the job (default: the one that runs)")
    .action(async (job: string | undefined) => exit(await (await import("./launch.ts")).stopCommand(job)));

  program
    .command("serve-partitions", { hidden: true })
    .description("What a launcher runs as a server of the job.")
    .action(async () => exit(await (await import("./launch.ts")).servePartitions()));

  program
    .command("run-process", { hidden: true })
    .description("What a launcher runs over ssh: one process of the job, as standard input says.")
    .action(async () => exit(await (await import("../launch/index.ts")).runProcess()));
}
