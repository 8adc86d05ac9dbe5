// TensorFlow.js as a peer of the CTR benchmark: one step measured in a process of its own.

import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { installPeer, lastLine, tensorFlowJs } from "./npm-peer.ts";

/** The cpu backend's gradient of gather takes time by the rows of the table: a million would take ten minutes a step. */
export const TFJS_ROWS = 20_000;
const TFJS_BATCH = 4;
const TIMEOUT_MS = 180_000;

const script = join(dirname(fileURLToPath(import.meta.url)), "../peers/ctr-tfjs.ts");

/** Samples/s with a table of `TFJS_ROWS` rows, or why there is no such figure. */
export function tfjsRate():
  | { readonly samplesPerSecond: number; readonly backend: string }
  | { readonly missing: string } {
  const installed = installPeer(tensorFlowJs);
  if ("missing" in installed) return installed;
  const args = [script, installed.folder, String(TFJS_ROWS), String(TFJS_BATCH)];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: TIMEOUT_MS });
  if (status !== 0) return { missing: `it failed: ${lastLine(stderr)}` };
  return JSON.parse(lastLine(stdout)) as { samplesPerSecond: number; backend: string };
}
