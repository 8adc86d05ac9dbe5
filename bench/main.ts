// `npm run bench -- NAME`: runs one benchmark, prints the machine, the figures and the goals, and says which were met.

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { type BenchOptions, type BenchResult, formatResult, machine, say } from "./lib/report.ts";

interface Bench {
  readonly about: string;
  load(): Promise<{
    run(options: BenchOptions & { readonly seconds?: number }): Promise<BenchResult>;
    /** What `--only` picks from. */
    readonly parts?: readonly string[];
  }>;
}

const benches: Readonly<Record<string, Bench>> = {
  gemm: {
    about: "GFLOP/s of the providers: products and convolutions on the shapes of models",
    load: () => import("./gemm.ts"),
  },
  kernels: {
    about: "elementwise kernels, reductions, norms, AdaGrad against memory copy",
    load: () => import("./kernels.ts"),
  },
  heap: { about: "kernels on heaps of up to 4 GiB and above it", load: () => import("./heap.ts") },
  table: { about: "sparse tables: look-up, insert, gather, scatter", load: () => import("./table.ts") },
  data: { about: "parsing and hashing of training files", load: () => import("./data.ts") },
  ctr: { about: "DeepFM training: samples/s, scaling, memory, loss, beside PyTorch", load: () => import("./ctr.ts") },
  engine: {
    about: "training steps of ResNet-50, BERT and others beside PyTorch and jax-js; bf16, recompute, planning",
    load: () => import("./engine.ts"),
  },
  ps: {
    about: "the parameter server: rows pulled and pushed a second by a partition",
    load: () => import("./ps.ts"),
  },
  rpc: { about: "remote calls over unix sockets, tcp and tls, beside plain streams", load: () => import("./rpc.ts") },
  word2vec: {
    about: "word vectors: words/s beside word2vec.c, pWord2Vec, fastText and gensim",
    load: () => import("./word2vec.ts"),
  },
  collective: {
    about:
      "all-reduce beside Open MPI, beside copying, over slow networks; data-parallel steps on slow hosts and two cores",
    load: () => import("./collective.ts"),
  },
  quality: {
    about: "AUC and log loss on real data beside PyTorch and scikit-learn",
    load: () => import("./quality.ts"),
  },
};

/** Time of one measurement of the small benchmarks with `--quick`. */
const QUICK_SECONDS = 0.05;

function usage(): string {
  const names = Object.entries(benches).map(([name, { about }]) => `  ${name.padEnd(10)}  ${about}`);
  return `usage: npm run bench -- NAME [--quick] [--only PART[,PART]] [--json FILE]

${names.join("\n")}
  all       one after the other

  --quick       less data, shorter windows: shows that it runs, not what it can do
  --only PARTS  some parts of a benchmark that has parts; a wrong name lists them
  --json FILE   also write the machine, and rows and goals by benchmark, to FILE
  --help        this text`;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "string" },
      only: { type: "string" },
      quick: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  const [name, ...rest] = positionals;
  if (values.help || name === undefined) {
    console.log(usage());
    return values.help ? 0 : 2;
  }
  if (rest.length > 0 || (name !== "all" && !Object.hasOwn(benches, name))) {
    say(`unknown benchmark ${JSON.stringify(positionals.join(" "))}\n\n${usage()}`);
    return 2;
  }
  const command = ["npm run bench --", ...process.argv.slice(2)].join(" ");
  const host = machine();
  const date = new Date().toISOString();
  console.log(`${host.cpu}, ${host.cores} cores, ${host.os}, Node ${host.node}\n${date}  ${command}`);
  const only = values.only?.split(",");
  const options = values.quick ? { quick: true, seconds: QUICK_SECONDS } : {};
  const results: Record<string, BenchResult> = {};
  for (const each of name === "all" ? Object.keys(benches) : [name]) {
    const { run, parts = [] } = await benches[each]!.load();
    const unknown = only?.filter((part) => !parts.includes(part)) ?? [];
    if (unknown.length > 0) {
      say(
        `--only ${unknown.join(",")}: ${each} has ${parts.length > 0 ? `the parts ${parts.join(", ")}` : "no parts"}`,
      );
      return 2;
    }
    const result = await run({ ...options, ...(only === undefined ? {} : { only }) });
    results[each] = { rows: result.rows, goals: result.goals };
    console.log(`\n${each}\n${formatResult(result)}`);
  }
  if (values.json !== undefined) {
    mkdirSync(dirname(values.json), { recursive: true });
    writeFileSync(values.json, `${JSON.stringify({ ...results, machine: host, date, command }, null, 2)}\n`);
  }
  return 0;
}

process.exitCode = await main();
