// The `flotilla` command: its subcommands, what it prints when it fails, and its exit codes: 0 done, 1 failed, 2 used
// wrongly, 130 interrupted.
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { addCommands } from "./commands.ts";
import { asTyped, UsageError } from "./usage.ts";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const program = new Command("flotilla")
  .description("Trains models with millions of sparse features on all cores of this machine.")
  .version(version, "-V, --version", "print the version")
  .helpOption("-h, --help", "print this help")
  .helpCommand(false)
  .exitOverride()
  .showHelpAfterError("(--help lists the options)")
  .configureHelp({ subcommandTerm: (command) => command.name() })
  .addHelpText(
    "after",
    `
Examples:
  flotilla train clicks.tsv --hold-out 0.1            train a DeepFM on a Criteo file, test on its last tenth
  flotilla evaluate runs/NAME test.tsv                log loss, AUC and calibration on other rows
  flotilla predict runs/NAME new.tsv > scores.txt     one probability a line
  flotilla word2vec train words.txt -o vectors.bin    word vectors from text
  flotilla launch --servers 2 --workers 2 ctr.ts      run a script as a job of many processes
  flotilla doctor                                     what this machine has, and how to make it faster

flotilla COMMAND --help explains a command. DEBUG=1 adds stack traces to errors.`,
  );

let exitCode = 0;
addCommands(program, (code) => {
  exitCode = code;
});

try {
  await program.parseAsync();
} catch (error) {
  exitCode = report(error as Error);
}
process.exitCode = exitCode;

/** Prints one clear message; returns the exit code. */
function report(error: Error): number {
  // Commander has printed its own.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const paint = process.stderr.isTTY && !process.env.NO_COLOR ? ["\x1b[1;31m", "\x1b[0m"] : ["", ""];
  process.stderr.write(`${paint[0]}error:${paint[1]} ${asTyped(error.message)}\n`);
  if (process.env.DEBUG) process.stderr.write(`${error.stack}\n`);
  return error instanceof UsageError ? 2 : 1;
}
