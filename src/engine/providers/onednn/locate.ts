// Where a oneDNN library may lie: named by the user, installed by the system or a package manager, or fetched by
// `flotilla doctor --fix` into the user's cache folder.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export type Environment = Readonly<Record<string, string | undefined>>;

const LIBRARY = /^libdnnl(\.so(\.\d+)*|(\.\d+)*\.dylib)$/;

/** The folder below which fetched libraries lie: $XDG_CACHE_HOME/flotilla/onednn, by default ~/.cache/flotilla/onednn. */
export function cacheFolder(env: Environment = process.env): string {
  return join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), ".cache"), "flotilla", "onednn");
}

/**
 * Paths of libraries to try, the best first. FLOTILLA_ONEDNN, where set, is the only one.
 * Whether one can be loaded is for the caller to find out.
 */
export function locateOneDnn(env: Environment = process.env): string[] {
  if (env.FLOTILLA_ONEDNN) return [env.FLOTILLA_ONEDNN];
  const found = [...folders(env).flatMap(librariesIn), ...fromLinkerCache(), ...fetched(env)].filter(existsSync);
  const files = new Set<string>();
  return found.filter((path) => {
    const file = realpathSync(path);
    const isNew = !files.has(file);
    files.add(file);
    return isNew;
  });
}

function folders(env: Environment): string[] {
  const home = env.HOME || homedir();
  const triplet = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
  return [
    ...(env.LD_LIBRARY_PATH ?? "").split(":").filter(Boolean),
    ...(env.CONDA_PREFIX ? [join(env.CONDA_PREFIX, "lib")] : []),
    ...[`/usr/lib/${triplet}`, "/usr/lib64", "/usr/local/lib", "/usr/lib"],
    ...["/opt/homebrew/lib", "/usr/local/opt/onednn/lib", "/home/linuxbrew/.linuxbrew/lib"],
    ...["miniconda3", "anaconda3", "miniforge3", "mambaforge"].map((name) => join(home, name, "lib")),
  ];
}

/** One library a folder: its files are links to one another, and the shortest versioned name is the soname. */
function librariesIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => LIBRARY.test(name));
  const rank = (name: string): number => (/\d/.test(name) ? name.length : 1000);
  names.sort((a, b) => rank(a) - rank(b));
  return names.slice(0, 1).map((name) => join(folder, name));
}

function fromLinkerCache(): string[] {
  if (process.platform !== "linux") return [];
  for (const command of ["/sbin/ldconfig", "/usr/sbin/ldconfig"]) {
    if (!existsSync(command)) continue;
    try {
      const text = execFileSync(command, ["-p"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
      return [...text.matchAll(/^\s*libdnnl\.so\S* .*=> (\S+)$/gm)].map((match) => match[1]!);
    } catch {
      return [];
    }
  }
  return [];
}

function fetched(env: Environment): string[] {
  const folder = cacheFolder(env);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => !name.startsWith("."))
    .sort()
    .reverse()
    .flatMap((name) => librariesIn(join(folder, name)));
}
