#!/usr/bin/env node
// The `flotilla` command: runs the published build, or in a clone the TypeScript sources.
import { existsSync } from "node:fs";
import module from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

const [major] = process.versions.node.split(".").map(Number);
if (major < 24) {
  console.error(
    `flotilla needs Node 24 or newer; this is ${process.version}. In a clone, use \`npm run flotilla -- …\`: it brings its own Node.`,
  );
  process.exit(1);
}
// Compiled code is kept between runs, also that of threads: a third less work at each start.
process.env.NODE_COMPILE_CACHE ??= join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "flotilla", "code");
module.enableCompileCache(process.env.NODE_COMPILE_CACHE);
const built = new URL("../dist/cli/main.js", import.meta.url);
const source = new URL("../src/cli/main.ts", import.meta.url);
await import((existsSync(source) ? source : built).href);
