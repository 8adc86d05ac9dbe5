// The long suite: real data sets, statistical comparisons, peers.
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

// Tests start hundreds of processes and threads: what Node compiles is kept for the next one.
process.env.NODE_COMPILE_CACHE ??= join(tmpdir(), "flotilla-test-code");

export default defineConfig({
  test: {
    include: ["src/**/*.long.test.ts", "test/**/*.long.test.ts"],
    pool: "forks",
    maxWorkers: 1,
    testTimeout: 1_800_000,
    setupFiles: ["test/setup.ts"],
  },
});
