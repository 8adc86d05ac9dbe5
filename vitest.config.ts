// The default test suite: everything that fits in ten minutes on two cores.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["**/*.long.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    setupFiles: ["test/setup.ts"],
  },
});
