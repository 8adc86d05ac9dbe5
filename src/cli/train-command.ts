// The options of `flotilla train`, and the help that teaches them.
import { type Command, Option } from "commander";
import { engineOptions, formats } from "./common-options.ts";
import type { TrainFlags } from "./train-options.ts";
import { oneOf, realNumber, wholeNumber, widths } from "./usage.ts";

const examples = `
Data:
  Criteo rows are tab-separated: label, 13 integers, 26 categories, each possibly empty.
  CSV and Parquet need a schema, a JSON file that says what the columns mean:
    { "label": { "column": "clicked" },
      "categorical": ["user", "ad", { "cross": ["user", "ad"] }],
      "dense": [{ "column": "price", "transform": "log" }] }
  Options of CSV files go beside it: { "schema": { … }, "delimiter": ";", "missing": ["NA"] }.
  Text may be gzip-compressed. Quote globs to have them expanded here: 'day-*.tsv.gz'.

Examples:
  flotilla train clicks.tsv --hold-out 0.1
      a DeepFM over all cores, tested on the last tenth of the rows
  flotilla train 'day-*.tsv' --validation test.tsv --epochs 3 --patience 1 --name ctr
      at most three epochs, fewer when the AUC stops rising; everything in runs/ctr/
  flotilla train clicks.parquet --schema clicks.json --hold-out 0.1 --model dcnV2 --dim 32 --hidden 512,256
  flotilla train clicks.tsv --optimizer adam --lr 0.001 --schedule cosine:total=20000 --warmup 500
  flotilla train clicks.tsv --model wideAndDeep --wide-optimizer ftrl:l1=1
  flotilla train --resume runs/ctr
      go on where Ctrl-C, a crash or a reboot left it

Ctrl-C stops at the next batch, saves, and says how to go on; a second one aborts at once.
Schedules: constant, step:every=…,gamma=…, cosine:total=…[,floor=…], polynomial:total=…[,power=…,floor=…],
noam:dim=…,warmup=…[,factor=…]; lengths in steps, one step a batch.`;

/** @param act called with the data and the options that were given */
export function addTrain(program: Command, act: (data: string[], flags: TrainFlags) => Promise<void>): void {
  const command = program
    .command("train")
    .summary("train a click model on Criteo, CSV or Parquet files")
    .description(
      "Trains a click model on Criteo, CSV or Parquet files. Everything of the run lies in runs/NAME/:\nconfiguration, metrics, checkpoint, summary and a report to open in a browser.",
    )
    .usage("DATA... [options]\n       flotilla train --resume RUN [options]")
    .argument("[data...]", "files or globs to train on")
    .addHelpText("after", examples)
    .action((data: string[], flags: TrainFlags) => act(data, flags));

  command
    .optionsGroup("Model:")
    .option(
      "--model <name>",
      "logisticRegression, factorizationMachine, wideAndDeep, deepFM or dcnV2 (default: deepFM)",
    )
    .option("--dim <n>", "width of the embeddings (default: 16)", wholeNumber(1, 4096))
    .option("--hidden <widths>", "widths of the hidden layers (default: 400,400,400)", widths)
    .option("--activation <name>", "relu, sigmoid or tanh (default: relu)", (text) =>
      oneOf("--activation", text, ["relu", "sigmoid", "tanh"] as const),
    )
    .option("--dropout <p>", "share of hidden units left out in training (default: 0)", realNumber(0, 1, true))
    .option("--norm <name>", "none, batch or layer, after each hidden layer (default: none)", (text) =>
      oneOf("--norm", text, ["none", "batch", "layer"] as const),
    )
    .option("--cross-layers <n>", "of dcnV2 (default: 3)", wholeNumber(1, 64));

  command
    .optionsGroup("Data:")
    .option("--validation <files...>", "held-out files or globs, evaluated after each epoch")
    .option("--hold-out <fraction>", "hold out the last rows of each file instead", realNumber(0, 1))
    .option("--format <name>", "criteo, csv or parquet (default: told by name and content)", (text) =>
      oneOf("--format", text, formats),
    )
    .option("--schema <file>", "what the columns of CSV or Parquet data mean (JSON)")
    .option("--buckets <n>", "fold feature ids into 1 to N (default: keep 64 bits)", wholeNumber(1, 0xffffffff))
    .option("--batch <n>", "rows a step of a thread (default: 512)", wholeNumber(1, 65536))
    .option("--readers <n>", "reader threads (default: 1)", wholeNumber(1, 64))
    .option("--order <name>", "fast: as pieces come; file: keep the order of the rows (default: fast)", (text) =>
      oneOf("--order", text, ["fast", "file"] as const),
    )
    .option(
      "--shuffle <seed>",
      "mix the rows, otherwise in each epoch (default: the order of the files)",
      wholeNumber(0, 0xffffffff),
    )
    .option("--on-bad-line <action>", "fail or skip lines that cannot be parsed (default: fail)", (text) =>
      oneOf("--on-bad-line", text, ["fail", "skip"] as const),
    );

  command
    .optionsGroup("Optimization:")
    .option("--epochs <n>", "passes over the data (default: 1)", wholeNumber(1))
    .option(
      "--optimizer <name>",
      "adagrad, adagradShared, adam, adamw, ftrl, momentum, rmsprop or sgd, with settings as in adam:beta1=0.8 (default: adagrad)",
    )
    .option(
      "--lr <rate>",
      "learning rate (default: adagrad 0.02, adam and adamw 0.001, rmsprop 0.01, others 0.05)",
      realNumber(0),
    )
    .option("--schedule <name>", "how the rate falls, as in cosine:total=20000,floor=1e-4 (default: constant)")
    .option("--warmup <steps>", "let the rate rise from 0 first", wholeNumber(1))
    .option("--wide-optimizer <name>", "one of its own for the linear weights, as in ftrl:lr=0.1,l1=1")
    .option("--patience <n>", "stop after N evaluations without a better AUC", wholeNumber(1))
    .option("--evaluate-every <rows>", "evaluate also within an epoch", wholeNumber(1))
    .option(
      "--mode <name>",
      "async: threads update without locks (Hogwild); sync: each step averages them (default: async)",
      (text) => oneOf("--mode", text, ["async", "sync"] as const),
    )
    .option("--seed <n>", "of start values and dropout (default: 1)", wholeNumber(0, 0xffffffff));

  command
    .optionsGroup("Run:")
    .option("--name <name>", "folder of the run under runs/ (default: the model and the time)")
    .option("--runs <dir>", "folder of all runs (default: runs)")
    .option("--overwrite", "replace a run of the same name")
    .option("--resume <run>", "go on with this run; takes no data")
    .option("--checkpoint-every <seconds>", "between checkpoints (default: 300)", realNumber(0));
  for (const option of engineOptions()) command.addOption(option);
  command
    .addOption(new Option("--profile", "print where the time of a step goes"))
    .option("--quiet", "print the results only");
}
