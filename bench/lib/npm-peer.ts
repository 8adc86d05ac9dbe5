// Peers that npm installs on demand, in folders of their own: they are no dependencies of the library.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { peerFolder } from "./paths.ts";
import { say } from "./report.ts";

const TIMEOUT_MS = 180_000;

export interface NpmPeer {
  /** Of the folder that holds its packages. */
  readonly name: string;
  /** Versions by package. */
  readonly packages: Readonly<Record<string, string>>;
}

/** The folder whose `node_modules` holds the packages, or why there is none. */
export function installPeer({ name, packages }: NpmPeer): { readonly folder: string } | { readonly missing: string } {
  const folder = peerFolder(name);
  const names = Object.keys(packages);
  if (names.every((it) => existsSync(join(folder, "node_modules", it)))) return { folder };
  const wanted = Object.entries(packages).map(([it, version]) => `${it}@${version}`);
  say(`installing ${wanted.join(" ")} into build/peers`);
  const args = ["install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", ...wanted];
  const { status, stderr, error } = spawnSync("npm", args, { encoding: "utf8", timeout: TIMEOUT_MS });
  if (status === 0) return { folder };
  return { missing: `npm install failed: ${error?.message ?? lastLine(stderr)}` };
}

export function lastLine(text: string | null): string {
  return (text ?? "").trim().split("\n").at(-1) ?? "";
}

export const jaxJs: NpmPeer = { name: "jax", packages: { "@jax-js/jax": "0.1.25" } };
/** The last release, of 2024; all its packages have one version. */
export const tensorFlowJs: NpmPeer = {
  name: "tfjs",
  packages: { "@tensorflow/tfjs": "4.22.0", "@tensorflow/tfjs-backend-wasm": "4.22.0" },
};
