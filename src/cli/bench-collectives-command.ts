// `flotilla bench-collectives`: its options and help.
import type { Command } from "commander";
import type { BenchCollectivesFlags } from "./bench-collectives.ts";
import { wholeNumber } from "./usage.ts";

/** @param exit receives the exit code of the command that ran */
export function addBenchCollectives(program: Command, exit: (code: number) => void): void {
  program
    .command("bench-collectives")
    .summary("measure collectives between ranks of this machine")
    .description("Measures collectives between ranks of this machine: MB/s by size and algorithm, like nccl-tests.")
    .option("-n, --ranks <n>", "ranks to start", wholeNumber(1, 256), 2)
    .option("--transport <name>", "threads, shared, unix or tcp (default: shared)", "shared")
    .option("--collective <name>", "which collective", "all-reduce")
    .option("--algorithms <names>", "separated by commas (default: all that fit)")
    .option("--group-size <n>", "ranks of a group (hierarchical) or of a row (torus)", wholeNumber(1))
    .option("--wire <type>", "f32, bf16 or f16", "f32")
    .option("--min-bytes <n>", "smallest buffer", wholeNumber(4), 1024)
    .option("--max-bytes <n>", "largest buffer", wholeNumber(4), 64 * 2 ** 20)
    .option("--seconds <n>", "about so long for each line", (text) => Number(text), 0.3)
    .option("--json", "print the figures as JSON")
    .addHelpText(
      "after",
      `
time is that of the slowest rank, in the middle of the repetitions. algbw is bytes of the buffer divided by time; busbw is
what a link carries, comparable between collectives and numbers of ranks, as nccl-tests define it.

Examples:
  flotilla bench-collectives
  flotilla bench-collectives --ranks 4 --transport unix --algorithms ring,direct
  flotilla bench-collectives --wire bf16 --json`,
    )
    .action(async (flags: BenchCollectivesFlags) =>
      exit(await (await import("./bench-collectives.ts")).benchCollectives(flags)),
    );
}
