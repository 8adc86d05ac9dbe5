// The documentation keeps its word: examples run, pages quote them as they are, links lead somewhere, and the catalogue of
// ops is the one of the code.
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { catalogue } from "../src/program/ops/catalogue.ts";

const root = resolve(import.meta.dirname, "..");
const pages = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md"));
const examples = readdirSync(join(root, "examples")).filter((name) => name.endsWith(".ts") && name !== "demo.ts");
const folder = mkdtempSync(join(tmpdir(), "flotilla-docs-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const read = (...path: string[]): string => readFileSync(join(root, ...path), "utf8");

/** Examples that print the same everywhere. */
const exact = ["feature-hash.ts", "metrics.ts"];

/** Runs a program and gives what it prints. */
function run(program: string, args: readonly string[], cwd: string): Promise<string> {
  return new Promise((done, fail) => {
    execFile(process.execPath, [join(root, program), ...args], { cwd }, (error, out, err) => {
      if (error === null) done(out);
      else fail(new Error(`${program} failed: ${err}`));
    });
  });
}

/** Fenced blocks of a language, without the fences. */
function blocks(page: string, language: string): string[] {
  const fenced = [...read("docs", page).matchAll(/^```(\w*)\n(.*?)^```$/gms)];
  return fenced.filter(([, of]) => of === language).map(([, , text]) => text!);
}

describe.concurrent("examples", () => {
  it.for(examples)("%s runs", { timeout: 120_000 }, async (name, { expect }) => {
    const output = await run(`examples/${name}`, [], folder);
    expect(output).not.toMatch(/NaN|undefined/);
    if (!exact.includes(name)) return;
    const shown = pages.flatMap((page) => blocks(page, ""));
    expect(shown.some((block) => output.startsWith(block))).toBe(true);
  });
});

describe("pages", () => {
  it.for(pages)("%s quotes code as it stands in the examples", (page) => {
    const sources = examples.map((name) => read("examples", name));
    for (const block of blocks(page, "ts")) {
      const found = sources.some((source) => source.includes(block));
      expect(found, `no example has\n${block}`).toBe(true);
    }
  });

  it.for([...pages, "../README.md"])("%s links to what is there", (page) => {
    for (const [, target] of read("docs", page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target!)) continue;
      const [path, anchor] = target!.split("#") as [string, string | undefined];
      const file = path === "" ? join(root, "docs", page) : resolve(root, "docs", dirname(page), path);
      expect(existsSync(file), `${page} links to ${target}`).toBe(true);
      if (anchor === undefined) continue;
      const anchors = [...readFileSync(file, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
        title!
          .toLowerCase()
          .replaceAll(/[^\w -]/g, "")
          .replaceAll(" ", "-"),
      );
      expect(anchors, `${page} links to ${target}`).toContain(anchor);
    }
  });

  it("describe every option of the command line, and no other", async () => {
    const flags = (text: string): Set<string> => new Set(text.match(/--[a-z][a-z-]*/g));
    const commands = ["train", "evaluate", "predict", "export", "inspect", "plan", "doctor", "bench-collectives"];
    const keys = ["make", "rotate", "show"].map((action) => ["keys", action]);
    const helps = await Promise.all(
      [...commands.map((command) => [command]), ...keys].map((words) =>
        run("bin/flotilla.js", [...words, "--help"], root),
      ),
    );
    expect([...flags(read("docs", "cli.md"))].sort()).toEqual([...flags(helps.join())].sort());
  });

  it("describe every option of word2vec on its page", async () => {
    const page = read("docs", "word2vec.md");
    for (const command of ["train", "nearest", "analogy"]) {
      const help = await run("bin/flotilla.js", ["word2vec", command, "--help"], root);
      for (const [flag] of help.matchAll(/--[a-z][a-z-]*/g)) if (flag !== "--help") expect(page).toContain(flag);
    }
  });

  it("describe every option of launch, status and stop on their page", async () => {
    const page = read("docs", "launch.md");
    for (const command of ["launch", "status", "stop"]) {
      const help = await run("bin/flotilla.js", [command, "--help"], root);
      for (const [flag] of help.matchAll(/--[a-z][a-z-]*/g)) if (flag !== "--help") expect(page).toContain(flag);
    }
  });

  it("describe every benchmark", async () => {
    const names = (await run("bench/main.ts", ["--help"], root)).matchAll(/^ {2}(\w+) {2,}/gm);
    const described = read("docs", "benchmarks.md").matchAll(/^\| `(\w+)` \|/gm);
    expect([...described].map(([, name]) => name)).toEqual([...names].map(([, name]) => name));
  });

  it("mention every example", () => {
    const text = pages.map((page) => read("docs", page)).join("\n");
    for (const name of examples) expect(text, name).toContain(`../examples/${name}`);
  });

  it("list the ops of the program's catalogue", () => {
    const [, section] = read("docs", "architecture.md").split("\n## Ops\n");
    const kinds = [...section!.split("\n## ")[0]!.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]);
    expect(kinds).toEqual(Object.keys(catalogue));
  });
});
