// The long suite: real data sets, statistical comparisons, peers.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.long.test.ts", "test/**/*.long.test.ts"],
    pool: "forks",
    maxWorkers: 1,
    testTimeout: 1_800_000,
    setupFiles: ["test/setup.ts"],
  },
});
