// The subcommands beside `train`: their options and help. What they do is loaded when it is needed.
import type { Command } from "commander";
import { addBenchCollectives } from "./bench-collectives-command.ts";
import { addCheckpointCommands } from "./checkpoint-commands.ts";
import { engineOptions, readingOptions } from "./common-options.ts";
import type { DoctorFlags } from "./doctor.ts";
import type { EvaluateFlags } from "./evaluate.ts";
import { addKeys } from "./keys-command.ts";
import { addLaunchCommands } from "./launch-commands.ts";
import { addPlan } from "./plan-command.ts";
import type { PredictFlags } from "./predict.ts";
import { addTrain } from "./train-command.ts";
import { oneOf, realNumber } from "./usage.ts";
import { addWord2Vec } from "./word2vec-command.ts";

/** @param exit receives the exit code of the command that ran */
export function addCommands(program: Command, exit: (code: number) => void): void {
  addTrain(program, async (data, flags) => exit(await (await import("./train.ts")).train(data, flags)));

  addLaunchCommands(program, exit);

  const evaluate = program
    .command("evaluate")
    .summary("measure a model on data with labels")
    .description("Measures a model on data with labels: log loss, AUC, calibration, accuracy.")
    .usage("MODEL [DATA...] [options]")
    .argument("<model>", "a run, such as runs/NAME, or a checkpoint folder")
    .argument("[data...]", "files or globs; default: the run's held-out data")
    .addHelpText(
      "after",
      `
Examples:
  flotilla evaluate runs/ctr test.tsv
  flotilla evaluate runs/ctr                        on the rows that training held out
  flotilla evaluate runs/ctr 'test-*.tsv' --json | jq .auc`,
    )
    .action(async (model: string, data: string[], flags: EvaluateFlags) =>
      exit(await (await import("./evaluate.ts")).evaluate(model, data, flags)),
    );
  for (const option of [...readingOptions(), ...engineOptions()]) evaluate.addOption(option);
  evaluate
    .option("--on-bad-line <action>", "fail or skip lines that cannot be parsed (default: fail)", (text) =>
      oneOf("--on-bad-line", text, ["fail", "skip"] as const),
    )
    .option("--json", "print the metrics as JSON");

  const predict = program
    .command("predict")
    .summary("write one probability a row")
    .description("Writes one probability a line for each row, in the order of the rows.")
    .usage("MODEL [DATA...] [options]")
    .argument("<model>", "a run, such as runs/NAME, or a checkpoint folder")
    .argument("[data...]", "files or globs, read one after the other; none or -: lines from standard input")
    .addHelpText(
      "after",
      `
Rows need no label: Criteo rows may have 39 fields instead of 40, a CSV or Parquet file may lack the label's column.
Lines from standard input are scored as they come; they pass through a temporary file of at most 32 MB.

Examples:
  flotilla predict runs/ctr new.tsv > scores.txt
  flotilla predict runs/ctr 'new-*.tsv' --output scores.txt
  tail -f clicks.tsv | flotilla predict runs/ctr
  zcat new.tsv.gz | flotilla predict runs/ctr | paste - ids.txt`,
    )
    .action(async (model: string, data: string[], flags: PredictFlags) =>
      exit(await (await import("./predict.ts")).predict(model, data, flags)),
    );
  predict.option("-o, --output <file>", "write the scores to a file; it appears when it is complete");
  for (const option of [...readingOptions(), ...engineOptions()]) predict.addOption(option);

  addCheckpointCommands(program, exit);

  addPlan(program, exit);

  addWord2Vec(program, exit);

  addBenchCollectives(program, exit);

  program
    .command("doctor")
    .summary("show what this machine has, and how to make it faster")
    .description("Shows what this machine has for training, how fast it computes, and how to make it faster.")
    .option("--fix", "fetch oneDNN from the distribution's packages into your cache folder; needs no root")
    .option("--seconds <n>", "time for each measurement; 0 measures nothing", realNumber(0, 3600, true), 1)
    .option("--json", "print the findings as JSON")
    .addHelpText(
      "after",
      `
Examples:
  flotilla doctor
  flotilla doctor --fix
  flotilla doctor --json | jq '.providers[].gflops'`,
    )
    .action(async (flags: DoctorFlags) => exit(await (await import("./doctor.ts")).doctor(flags)));

  addKeys(program, exit);
}
