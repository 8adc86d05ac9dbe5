// The options and help of `flotilla export` and `flotilla inspect`.
import type { Command } from "commander";
import { readingOptions } from "./common-options.ts";
import type { ExportFlags } from "./export.ts";
import type { InspectFlags } from "./inspect.ts";
import { oneOf, realNumber } from "./usage.ts";

const modes = ["all", "base", "delta", "daily"] as const;
const formats = ["parquet", "safetensors"] as const;

/** @param exit receives the exit code of the command that ran */
export function addCheckpointCommands(program: Command, exit: (code: number) => void): void {
  const names = (text: string): string[] => text.split(",");
  const collect = (text: string, before: readonly string[] = []): string[] => [...before, text];
  const command = program
    .command("export")
    .summary("write a table of a checkpoint into one file")
    .description(
      "Writes the rows of a table, saved by one process or by any number of partitions of servers, into one Parquet or\nsafetensors file. The file appears when it is complete.",
    )
    .usage("CHECKPOINT -o FILE [options]")
    .argument(
      "<checkpoint>",
      "a run, a checkpoint folder, the folder into which servers saved, or an exported .safetensors",
    )
    .addHelpText(
      "after",
      `
Parquet has a column "key" of unsigned 64-bit ids, numbers for fields of one number and lists for others. safetensors has
a tensor "keys" U64 [rows] and a tensor F32 [rows, width] for each column.

For online serving, of tables whose rows have statistics: base are the rows worth serving (their score is at least --score
and they were seen within --keep-unseen days), delta those of them that gained at least --delta-score since the servers'
last delta save. daily is all, and unseen days are one more. The checkpoint stays as it is. --apply lays deltas over it:
their rows take the place of those before, or join them.

Examples:
  flotilla export runs/ctr -o features.parquet
  flotilla export runs/ctr --table features --fields embedding,embedding.sum -o features.safetensors
  flotilla export saved/day-7 --mode delta -o delta-7.safetensors
  flotilla export base.safetensors --apply delta-6.safetensors --apply delta-7.safetensors -o now.parquet`,
    )
    .action(async (checkpoint: string, flags: ExportFlags) =>
      exit(await (await import("./export.ts")).exportCommand(checkpoint, flags)),
    );
  command
    .requiredOption("-o, --output <file>", "the file to write: NAME.parquet or NAME.safetensors")
    .option("--table <name>", "which table (default: the only one)")
    .option("--fields <names>", "columns, as embedding,embedding.sum,show (default: the weights of all fields)", names)
    .option("--format <name>", "parquet or safetensors (default: by the file's name)", (text) =>
      oneOf("--format", text, formats),
    )
    .option("--no-verify", "do not check the files against their hashes first")
    .option("--quiet", "print no progress");
  command
    .optionsGroup("Rows:")
    .option("--mode <name>", "all, base, delta or daily (default: all)", (text) => oneOf("--mode", text, modes))
    .option("--apply <delta>", "lay a delta over it, saved or exported; repeat it for more, oldest first", collect)
    .option("--score <n>", "least score of base and delta (default: 1.5)", realNumber(0, Infinity, true))
    .option("--delta-score <n>", "least gain of delta (default: 0.25)", realNumber(0, Infinity, true))
    .option("--keep-unseen <days>", "most days unseen of base and delta (default: 16)", realNumber(0, Infinity, true))
    .option(
      "--non-click <n>",
      "what a show without a click adds to the score (default: 0.1)",
      realNumber(0, Infinity, true),
    )
    .option("--click <n>", "what a click adds (default: 1)", realNumber(0, Infinity, true));

  const inspect = program
    .command("inspect")
    .summary("show the tables of a checkpoint, or rows by key")
    .description("Shows what a checkpoint holds, or rows of a table: weights, optimizer state, statistics.")
    .usage("CHECKPOINT [KEY...] [options]")
    .argument("<checkpoint>", "a run, a checkpoint folder, or the folder into which servers saved")
    .argument("[key...]", "ids as numbers (17, 0x11), or features as COLUMN=VALUE")
    .addHelpText(
      "after",
      `
A feature is hashed as in training; of a cross all its columns are named: site=ab12,hour=3.

Examples:
  flotilla inspect runs/ctr
  flotilla inspect runs/ctr C1=05db9164 C14=b28479f6
  flotilla inspect saved/day-7 0x9e3779b97f4a7c15 --table features --json`,
    )
    .action(async (checkpoint: string, keys: string[], flags: InspectFlags) =>
      exit(await (await import("./inspect.ts")).inspectCommand(checkpoint, keys, flags)),
    );
  inspect.option("--table <name>", "which table (default: the only one)");
  for (const option of readingOptions()) inspect.addOption(option);
  inspect.option("--json", "print it as JSON");
}
