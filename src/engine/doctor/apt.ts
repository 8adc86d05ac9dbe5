// Debian's and Ubuntu's package tools, used without root: lists are read from the system or kept in a folder of our own.
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

export interface AptPackage {
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
  /** Names of the packages it depends on, alternatives included. */
  readonly depends: readonly string[];
}

export interface Apt {
  /** The newest package that matches, by name as versions sort ("libdnnl3.6" after "libdnnl2"). */
  newest(pattern: RegExp, search: string): Promise<string | undefined>;
  show(name: string): Promise<AptPackage>;
  /** Downloads the exact version into `folder`. */
  download(wanted: AptPackage, folder: string): Promise<void>;
  /** Package lists of our own, below `folder`, used from now on. */
  updateInto(folder: string): Promise<void>;
}

/** Runs a program; resolves with its standard output. @throws with the last line that it wrote when it fails. */
export function runProgram(
  command: string,
  args: readonly string[],
  options: { env: Environment; cwd?: string; timeout?: number },
): Promise<string> {
  const { timeout = 60_000, env, ...rest } = options;
  return new Promise((resolve, reject) => {
    const settings = { ...rest, timeout, maxBuffer: 2 ** 26, env: { ...env, LC_ALL: "C" } as NodeJS.ProcessEnv };
    execFile(command, args, settings, (error, out, err) => {
      if (!error) return resolve(out);
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return reject(new Error(`${command} is not installed`));
      const why = error.killed ? `gave no answer in ${timeout / 1000} s` : err.trim().split("\n").at(-1);
      reject(new Error(`${command} ${args.find((arg) => !arg.startsWith("-")) ?? ""}: ${why || error.message}`));
    });
  });
}

export function apt(env: Environment): Apt {
  // Root would otherwise hand the download to the user _apt, who may not write where we can.
  let options = ["-oAPT::Sandbox::User="];
  return {
    async newest(pattern, search) {
      const text = await runProgram("apt-cache", [...options, "search", "--names-only", search], { env });
      const names = text.split("\n").map((line) => line.split(" ")[0]!);
      const version = (name: string): number => Number.parseFloat(/[\d.]+$/.exec(name)?.[0] ?? "0");
      return names.filter((name) => pattern.test(name)).sort((a, b) => version(b) - version(a))[0];
    },
    async show(name) {
      const text = await runProgram("apt-cache", [...options, "show", "--no-all-versions", name], { env });
      return parseRecord(name, text);
    },
    async download({ name, version }, folder) {
      await runProgram("apt-get", [...options, "download", `${name}=${version}`], { env, cwd: folder });
    },
    async updateInto(folder) {
      for (const name of ["lists/partial", "cache/archives/partial"])
        mkdirSync(join(folder, name), { recursive: true });
      options = [...options, `-oDir::State::Lists=${join(folder, "lists")}`, `-oDir::Cache=${join(folder, "cache")}`];
      await runProgram("apt-get", [...options, "update"], { env, timeout: 180_000 });
    },
  };
}

/** From what `apt-cache show` prints. @throws when the record lacks a version or checksum. */
export function parseRecord(name: string, text: string): AptPackage {
  const field = (key: string): string | undefined => new RegExp(`^${key}: (.*)$`, "m").exec(text)?.[1]?.trim();
  const [version, sha256] = [field("Version"), field("SHA256")];
  if (!version || !sha256) throw new Error(`apt-cache show ${name}: no version or SHA256 in the record`);
  const depends = (field("Depends") ?? "").split(/[,|]/).map((item) => item.trim().split(/[ (:]/)[0]!);
  return { name, version, sha256, depends: depends.filter(Boolean) };
}
