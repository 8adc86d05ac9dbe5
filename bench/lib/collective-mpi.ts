// All-reduce of Open MPI, by a small C program that is built for it.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Seconds of each repetition, by number of elements; undefined where Open MPI or its compiler is not installed. */
export function mpiAllReduce(
  ranks: number,
  counts: readonly number[],
  times: number,
): Map<number, number[]> | undefined {
  if (spawnSync("mpicc", ["--version"]).status !== 0) return undefined;
  const folder = mkdtempSync(join(tmpdir(), "flotilla-mpi-"));
  try {
    const program = join(folder, "allreduce");
    execFileSync("mpicc", ["-O2", join(import.meta.dirname, "../peers/allreduce_mpi.c"), "-o", program]);
    const args = [
      "--allow-run-as-root",
      "--oversubscribe",
      "--mca",
      "oob_tcp_if_include",
      "lo",
      "--mca",
      "btl",
      "self,vader",
    ];
    const output = execFileSync(
      "mpirun",
      [...args, "-n", String(ranks), program, String(times), ...counts.map(String)],
      {
        encoding: "utf8",
        env: { ...process.env, OMPI_MCA_mpi_yield_when_idle: "1" },
      },
    );
    const lines = output
      .trim()
      .split("\n")
      .map((line) => line.split(" ").map(Number));
    return new Map(lines.map(([count, ...seconds]) => [count!, seconds]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
