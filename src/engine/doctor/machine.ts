// What this machine has that decides the speed of dense arithmetic.
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { supportsRelaxedSimd } from "../../memory/index.ts";

export interface CpuFeatures {
  readonly avx2: boolean;
  readonly avx512f: boolean;
  readonly avx512Bf16: boolean;
  readonly amx: boolean;
}

export interface Machine {
  readonly cpu: string;
  /** Undefined where the system does not tell (only Linux does). */
  readonly features: CpuFeatures | undefined;
  /** Threads that this process may use. */
  readonly cores: number;
  readonly memoryBytes: number;
  readonly node: string;
  readonly relaxedSimd: boolean;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() || process.arch,
    features: process.platform === "linux" && process.arch === "x64" ? linuxFeatures() : undefined,
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    node: process.version,
    relaxedSimd: supportsRelaxedSimd(),
  };
}

function linuxFeatures(): CpuFeatures | undefined {
  try {
    return parseFeatures(readFileSync("/proc/cpuinfo", "utf8"));
  } catch {
    return undefined;
  }
}

/** From the text of /proc/cpuinfo. */
export function parseFeatures(cpuinfo: string): CpuFeatures {
  const flags = new Set((/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? "").trim().split(/\s+/));
  return {
    avx2: flags.has("avx2"),
    avx512f: flags.has("avx512f"),
    avx512Bf16: flags.has("avx512_bf16"),
    amx: flags.has("amx_tile") && flags.has("amx_bf16"),
  };
}
