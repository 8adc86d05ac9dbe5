// The default test suite: everything that fits in ten minutes on two cores.
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

// Tests start hundreds of processes and threads: what Node compiles is kept for the next one.
process.env.NODE_COMPILE_CACHE ??= join(tmpdir(), "flotilla-test-code");

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["**/*.long.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    // Both processes run file after file: a fresh one for each file costs a second of loading, and what must start
    // afresh, starts processes and threads of its own.
    isolate: false,
    testTimeout: 60_000,
    setupFiles: ["test/setup.ts"],
  },
});
