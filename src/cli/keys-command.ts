// The options and help of `flotilla keys`.
import type { Command } from "commander";
import type { KeysFlags, RotateFlags, ShowFlags } from "./keys.ts";
import { wholeNumber } from "./usage.ts";

const list = (text: string): string[] =>
  text
    .split(",")
    .map((host) => host.trim())
    .filter((host) => host !== "");

/** @param exit receives the exit code of the command that ran */
export function addKeys(program: Command, exit: (code: number) => void): void {
  const keys = program
    .command("keys")
    .summary("make, replace and show the certificates of a job")
    .description(
      "Makes, replaces and shows the certificates by which the processes of a job know each other over tls://.\nA peer without one gets nothing.",
    )
    .helpCommand(false)
    .addHelpText(
      "after",
      `
The folder holds ca.pem (the authorities that are trusted), server.pem and worker.pem (certificate and key of each role)
and ca.key, which only \`rotate\` needs: copy the other three to the machines and keep ca.key where it was made.

Examples:
  flotilla keys make keys --hosts node1,node2,10.0.0.7
  flotilla keys show keys
  flotilla keys rotate keys
  flotilla keys rotate keys --drop-old`,
    );

  keys
    .command("make")
    .summary("make an authority and certificates in a new folder")
    .description("Makes an authority and a certificate for each role in a new folder.")
    .argument("<folder>", "where they are written")
    .option("--hosts <list>", "names and addresses of the machines, beside this one, separated by commas", list)
    .option("--days <n>", "for how long the certificates are valid", wholeNumber(1, 3650), 365)
    .action(async (folder: string, flags: KeysFlags) => exit(await (await import("./keys.ts")).make(folder, flags)));

  keys
    .command("rotate")
    .summary("replace authority and certificates; the old ones stay good until the next time")
    .description(
      "Replaces the authority and all certificates. The authority before stays trusted until the next rotation, so processes\nneed not stop and machines may get the new files in any order. Servers take up new files within seconds.",
    )
    .argument("<folder>", "a folder that `flotilla keys make` wrote")
    .option("--hosts <list>", "names and addresses of the machines (default: those of the present certificates)", list)
    .option("--days <n>", "for how long the certificates are valid", wholeNumber(1, 3650), 365)
    .option("--drop-old", "trust the new authority alone, at once: for when a key has become known")
    .action(async (folder: string, flags: RotateFlags) =>
      exit(await (await import("./keys.ts")).rotate(folder, flags)),
    );

  keys
    .command("show")
    .summary("list the certificates: hosts, end, fingerprint")
    .description("Lists the certificates of a folder. The exit code is 1 when one is no longer valid.")
    .argument("<folder>", "a folder that `flotilla keys make` wrote")
    .option("--json", "print the certificates as JSON")
    .action(async (folder: string, flags: ShowFlags) => exit(await (await import("./keys.ts")).show(folder, flags)));
}
