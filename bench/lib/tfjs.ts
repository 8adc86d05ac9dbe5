// TensorFlow.js as a peer of the CTR benchmark: installed on demand, one step measured in a process of its own.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { peerFolder } from "./paths.ts";
import { say } from "./report.ts";

const PACKAGE = "@tensorflow/tfjs";
const VERSION = "4.22.0";
/** The cpu backend's gradient of gather takes time by the rows of the table: a million would take ten minutes a step. */
export const TFJS_ROWS = 20_000;
const TFJS_BATCH = 4;
const TIMEOUT_MS = 180_000;

const script = join(dirname(fileURLToPath(import.meta.url)), "../peers/ctr-tfjs.ts");

/** Samples/s with a table of `TFJS_ROWS` rows, or why there is no such figure. */
export function tfjsRate():
  | { readonly samplesPerSecond: number; readonly backend: string }
  | { readonly missing: string } {
  const folder = peerFolder("tfjs");
  if (!existsSync(join(folder, "node_modules", PACKAGE))) {
    say(`installing ${PACKAGE} ${VERSION} into build/peers`);
    const args = [
      "install",
      "--prefix",
      folder,
      "--no-audit",
      "--no-fund",
      "--ignore-scripts",
      `${PACKAGE}@${VERSION}`,
    ];
    const { status, stderr } = spawnSync("npm", args, { encoding: "utf8", timeout: TIMEOUT_MS });
    if (status !== 0) return { missing: `npm install failed: ${lastLine(stderr)}` };
  }
  const args = [script, folder, String(TFJS_ROWS), String(TFJS_BATCH)];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: TIMEOUT_MS });
  if (status !== 0) return { missing: `it failed: ${lastLine(stderr)}` };
  return JSON.parse(lastLine(stdout)) as { samplesPerSecond: number; backend: string };
}

function lastLine(text: string | null): string {
  return (text ?? "").trim().split("\n").at(-1) ?? "";
}
