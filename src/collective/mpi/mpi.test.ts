// The contract of transports over Open MPI, where it is installed.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "vitest";
import { moduleUrl } from "../../memory/index.ts";
import { type Outcome, type RunRanks, transportContract } from "../testing-contract.ts";

const installed = /Open MPI/.test(spawnSync("mpirun", ["--version"], { encoding: "utf8" }).stdout ?? "");

const runMpi: RunRanks = async (size, scenario, parameters = {}, options = {}) => {
  const folder = mkdtempSync(join(tmpdir(), "flotilla-mpi-"));
  const script = fileURLToPath(moduleUrl(import.meta.url, "./testing-rank"));
  const local = ["--mca", "oob_tcp_if_include", "lo", "--mca", "btl", "self,vader"];
  const args = ["--allow-run-as-root", "--oversubscribe", ...local, "-n", String(size), process.execPath, script];
  const env = { ...process.env, OMPI_MCA_mpi_yield_when_idle: "1" };
  try {
    const child = spawn("mpirun", [...args, JSON.stringify({ folder, scenario, parameters, ...options })], {
      env,
      stdio: "ignore",
    });
    await new Promise((resolve) => child.once("exit", resolve));
    return Array.from({ length: size }, (_, rank): Outcome => {
      const file = join(folder, String(rank));
      return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Outcome) : { died: true };
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
};

if (installed) {
  transportContract("mpi", runMpi, { sizes: [2, 3], deaths: false });
} else {
  test.skip("Open MPI is not installed: apt-get install openmpi-bin libopenmpi3", () => undefined);
}
