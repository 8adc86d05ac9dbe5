// The options and help of `flotilla plan`.
import type { Command } from "commander";
import type { PlanFlags } from "./plan.ts";
import { oneOf, quantity, realNumber, wholeNumber, widths } from "./usage.ts";

/** @param exit receives the exit code of the command that ran */
export function addPlan(program: Command, exit: (code: number) => void): void {
  const command = program
    .command("plan")
    .summary("how many servers and workers a model takes, and how fast it gets")
    .description(
      "Works out what the tables of a model take on parameter servers: hosts, memory, network, disk; how many samples a\nsecond that gives, and what holds it up.",
    )
    .usage("--features N --dim N [options]")
    .addHelpText(
      "after",
      `
Sizes may be written as 256GB, 25Gbit, 1e11. The formulas stand in docs/capacity.md. How fast a core is at each part was
measured on one machine; --measure measures this one in some seconds, and later plans go by that.

Examples:
  flotilla plan --features 1e9 --dim 8
  flotilla plan --features 1e11 --dim 8 --hosts-memory 512GB --cores 64 --samples-per-second 1e6
  flotilla plan --features 1e11 --dim 8 --in-memory 0.1 --json | jq .servers
  flotilla plan --measure`,
    )
    .action(async (flags: PlanFlags) => exit(await (await import("./plan.ts")).planCommand(flags)));
  command
    .optionsGroup("Model:")
    .option("--features <n>", "rows of the tables", quantity(1))
    .option("--dim <n>", "width of the embeddings", wholeNumber(1, 65_536))
    .option("--no-linear", "without the linear weight of each feature")
    .option("--no-statistics", "without shows and clicks of each feature")
    .option("--optimizer <name>", "as in flotilla train, with settings: adam:beta1=0.8 (default: adagrad)")
    .option("--ids-per-sample <n>", "ids that a sample looks up (default: 26)", quantity(1))
    .option("--dense <n>", "numbers of a sample beside them (default: 13)", wholeNumber(0))
    .option("--hidden <n,n,…>", "widths of the hidden layers (default: 400,400,400)", widths)
    .option("--batch <n>", "rows a step and thread (default: 512)", wholeNumber(1));
  command
    .optionsGroup("Hosts:")
    .option("--samples-per-second <n>", "what is wanted (default: what the hosts give)", quantity(1))
    .option("--servers <n>", "hosts of servers (default: as many as are needed)", wholeNumber(1))
    .option("--workers <n>", "hosts of workers (default: as many as are needed)", wholeNumber(1))
    .option("--cores <n>", "cores of a host (default: 32)", wholeNumber(1))
    .option("--hosts-memory <size>", "memory of a host (default: 256GB)", quantity(2 ** 20, "B"))
    .option("--network <rate>", "network of a host, each way (default: 25Gbit)", quantity(1000, "bit"))
    .option("--disk <rate>", "disk of a server, bytes a second (default: 1GB)", quantity(1000, "B"))
    .option(
      "--in-memory <share>",
      "share of the rows that stays in memory, the rest on disk (default: 1)",
      realNumber(0, 1.000001),
    )
    .option("--wire <type>", "f32 or f16: numbers on the network (default: f32)", (text) =>
      oneOf("--wire", text, ["f32", "f16"] as const),
    )
    .option("--durability <name>", "journal, snapshot or none (default: journal)", (text) =>
      oneOf("--durability", text, ["journal", "snapshot", "none"] as const),
    );
  command
    .optionsGroup("Output:")
    .option("--measure", "measure this machine first, and keep that for later plans")
    .option("--json", "print it as JSON");
}
