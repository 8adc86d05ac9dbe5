// Tasks that another program started: mpirun of Open MPI, mpiexec of MPICH and Intel MPI (hydra), srun of Slurm.
import { type Environment, expectJobName, optionalNumber, present, wholeNumber, wrong } from "./environment.ts";
import { expandNodeList } from "./node-list.ts";

/** This process among those that were started together. */
export interface Task {
  readonly by: "Open MPI" | "PMI" | "Slurm";
  /** The same for all tasks, and for no others. */
  readonly job: string;
  readonly rank: number;
  readonly size: number;
  /** Whether all tasks run on this machine. */
  readonly local: boolean;
  /** The machines, where they are known. */
  readonly nodes: readonly string[];
  /** What the scheduler calls this machine. */
  readonly node: string | undefined;
  /** How often the scheduler has started the job again. */
  readonly attempt: number;
}

/** Steps from here on are no tasks of srun: the batch script, an interactive shell, the extern step. */
const FIRST_SPECIAL_STEP = 0xfffffff0;

/**
 * `undefined` for a process that nobody started together with others. The innermost starter counts: mpirun in an
 * allocation of Slurm sets its own variables beside those of Slurm.
 * @throws ClusterError that names a variable and its value
 */
export function taskFromEnvironment(env: Environment): Task | undefined {
  if (present(env, "OMPI_COMM_WORLD_RANK")) return openMpi(env);
  if (present(env, "PMI_RANK") && present(env, "PMI_SIZE")) return pmi(env);
  if (present(env, "SLURM_PROCID") && inStep(env)) return slurm(env);
  return undefined;
}

/** Whether srun has started this process, and not the batch script of a job. */
function inStep(env: Environment): boolean {
  const step = optionalNumber(env, "SLURM_STEP_ID", 0);
  return step !== undefined && step < FIRST_SPECIAL_STEP;
}

function openMpi(env: Environment): Task {
  const size = wholeNumber(env, "OMPI_COMM_WORLD_SIZE", 1);
  const local = optionalNumber(env, "OMPI_COMM_WORLD_LOCAL_SIZE", 1, size) === size;
  const name = env.PMIX_NAMESPACE ?? env.OMPI_MCA_ess_base_jobid;
  return task(env, "Open MPI", wholeNumber(env, "OMPI_COMM_WORLD_RANK", 0, size - 1), size, local, name);
}

function pmi(env: Environment): Task {
  const size = wholeNumber(env, "PMI_SIZE", 1);
  const local = optionalNumber(env, "MPI_LOCALNRANKS", 1, size) === size;
  return task(env, "PMI", wholeNumber(env, "PMI_RANK", 0, size - 1), size, local, env.PMI_PORT ?? env.PMI_JOBID);
}

function slurm(env: Environment): Task {
  const tasks = present(env, "SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
  const size = wholeNumber(env, tasks, 1);
  return task(env, "Slurm", wholeNumber(env, "SLURM_PROCID", 0, size - 1), size, undefined, undefined);
}

function task(
  env: Environment,
  by: Task["by"],
  rank: number,
  size: number,
  local: boolean | undefined,
  name: string | undefined,
): Task {
  const list = present(env, "SLURM_STEP_NODELIST") ? "SLURM_STEP_NODELIST" : "SLURM_JOB_NODELIST";
  if (present(env, "FLOTILLA_JOB")) expectJobName(env);
  const nodes = by === "Slurm" && present(env, list) ? expandNodeList(env[list]!) : [];
  return {
    by,
    job: env.FLOTILLA_JOB || jobName(env, by, size, name),
    rank,
    size,
    local: local ?? nodes.length === 1,
    nodes,
    node: by === "Slurm" ? env.SLURMD_NODENAME : undefined,
    attempt: optionalNumber(env, "SLURM_RESTART_COUNT", 0) ?? 0,
  };
}

function jobName(env: Environment, by: Task["by"], size: number, name: string | undefined): string {
  if (by === "Slurm") {
    return `slurm-${wholeNumber(env, "SLURM_JOB_ID", 1)}.${wholeNumber(env, "SLURM_STEP_ID", 0)}`;
  }
  if (name !== undefined) return `mpi-${name.replaceAll(/[^\w.-]/g, "-")}`;
  if (size === 1) return `mpi-${process.pid}`;
  throw wrong(env, "FLOTILLA_JOB", `a name for this job, because ${by} gives its tasks none: set it before mpiexec`);
}
