// The options of `flotilla train`, and the help that teaches them.
import { type Command, Option } from "commander";
import { engineOptions } from "./common-options.ts";
import { formats } from "./data-source.ts";
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
  flotilla train clicks.parquet --schema clicks.json --hold-out 0.1 --model dcn-v2 --dim 32 --hidden 512,256
  flotilla train clicks.tsv --optimizer adam --lr 0.001 --schedule cosine:total=20000 --warmup 500
  flotilla train clicks.tsv --model wide-and-deep --wide-optimizer ftrl:l1=1
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
      "--model NAME",
      "logistic-regression, factorization-machine, wide-and-deep, deep-fm or dcn-v2 (default: deep-fm)",
    )
    .option("--dim N", "width of the embeddings (default: 16)", wholeNumber(1, 4096))
    .option("--hidden WIDTHS", "widths of the hidden layers (default: 400,400,400)", widths)
    .option("--activation NAME", "relu, sigmoid or tanh (default: relu)")
    .option("--dropout P", "share of hidden units left out in training (default: 0)", realNumber(0, 1, true))
    .option("--norm NAME", "none, batch or layer, after each hidden layer (default: none)")
    .option("--cross-layers N", "of dcn-v2 (default: 3)", wholeNumber(1, 64));

  command
    .optionsGroup("Data:")
    .option("--validation FILES...", "held-out files or globs, evaluated after each epoch")
    .option("--hold-out FRACTION", "hold out the last rows of each file instead", realNumber(0, 1))
    .option("--format NAME", "criteo, csv or parquet (default: told by name and content)", (text) =>
      oneOf("--format", text, formats),
    )
    .option("--schema FILE", "what the columns of CSV or Parquet data mean (JSON)")
    .option("--buckets N", "fold feature ids into 1 to N (default: keep 64 bits)", wholeNumber(1, 0xffffffff))
    .option("--batch N", "rows a step of a thread (default: 512)", wholeNumber(1, 65536))
    .option("--readers N", "reader threads (default: 1)", wholeNumber(1, 64))
    .option("--order NAME", "fast: as pieces come; file: keep the order of the rows (default: fast)", (text) =>
      oneOf("--order", text, ["fast", "file"] as const),
    )
    .option(
      "--shuffle SEED",
      "mix the rows, otherwise in each epoch (default: the order of the files)",
      wholeNumber(0, 0xffffffff),
    )
    .option("--on-bad-line ACTION", "fail or skip lines that cannot be parsed (default: fail)", (text) =>
      oneOf("--on-bad-line", text, ["fail", "skip"] as const),
    );

  command
    .optionsGroup("Optimization:")
    .option("--epochs N", "passes over the data (default: 1)", wholeNumber(1))
    .option(
      "--optimizer NAME",
      "adagrad, adagrad-shared, adam, adamw, ftrl, momentum or sgd, with settings as in adam:beta1=0.8 (default: adagrad)",
    )
    .option("--lr RATE", "learning rate (default: 0.05; adam and adamw 0.001)", realNumber(0))
    .option("--schedule NAME", "how the rate falls, as in cosine:total=20000,floor=1e-4 (default: constant)")
    .option("--warmup STEPS", "let the rate rise from 0 first", wholeNumber(1))
    .option("--wide-optimizer NAME", "one of its own for the linear weights, as in ftrl:lr=0.1,l1=1")
    .option("--patience N", "stop after N evaluations without a better AUC", wholeNumber(1))
    .option("--evaluate-every ROWS", "evaluate also within an epoch", wholeNumber(1))
    .option(
      "--mode NAME",
      "async: threads update without locks (Hogwild); sync: each step averages them (default: async)",
      (text) => oneOf("--mode", text, ["async", "sync"] as const),
    )
    .option("--seed N", "of start values and dropout (default: 1)", wholeNumber(0, 0xffffffff));

  command
    .optionsGroup("Run:")
    .option("--name NAME", "folder of the run under runs/ (default: the model and the time)")
    .option("--runs DIR", "folder of all runs (default: runs)")
    .option("--overwrite", "replace a run of the same name")
    .option("--resume RUN", "go on with this run; takes no data")
    .option("--checkpoint-every SECONDS", "between checkpoints (default: 300)", realNumber(0));
  for (const option of engineOptions()) command.addOption(option);
  command
    .addOption(new Option("--profile", "print where the time of a step goes"))
    .option("--quiet", "print the results only");
}
