import { Command, InvalidArgumentError } from "commander";
import { describe, expect, it } from "vitest";
import { clickModelNames } from "../models/index.ts";
import { addCommands } from "./commands.ts";
import { commandOptimizers, parseOptimizerOption } from "./settings.ts";
import { asTyped, commandName, oneOf, realNumber, shellWord, UsageError, wholeNumber, widths } from "./usage.ts";

describe("names", () => {
  it.each(["deepFM", "deep-fm", "deepfm", "Deep_FM"])("are understood as %s", (text) => {
    expect(oneOf("--model", text, clickModelNames)).toBe("deepFM");
  });

  it("that are unknown are answered with what is allowed and the nearest", () => {
    const wrong = (text: string) => () => oneOf("--model", text, clickModelNames);
    expect(wrong("deepfn")).toThrow(UsageError);
    expect(wrong("deepfn")).toThrow(
      `--model: "deepfn" is unknown; allowed: ${clickModelNames.join(", ")}; did you mean deepFM?`,
    );
    expect(wrong("transformer")).toThrow(/dcnV2$/);
  });

  it("all stand in the help", () => {
    const program = new Command();
    addCommands(program, () => {});
    const help = program.commands
      .find((command) => command.name() === "train")!
      .helpInformation()
      .replaceAll(/\s+/g, " ");
    for (const name of [...clickModelNames, ...commandOptimizers]) expect(help).toContain(name);
  });
});

describe("numbers", () => {
  it("keep their limits", () => {
    expect(wholeNumber(1)("1_000")).toBe(1000);
    expect(realNumber(0, 1)("0.25")).toBe(0.25);
    expect(realNumber(0, 1, true)("0")).toBe(0);
    expect(widths("400,200")).toEqual([400, 200]);
    for (const text of ["", " ", "0", "1.5", "x", "-3", "1e400"]) {
      expect(() => wholeNumber(1)(text), text).toThrow(InvalidArgumentError);
    }
    for (const text of ["", "0", "1", "NaN", "x"])
      expect(() => realNumber(0, 1)(text), text).toThrow(/above 0 and below 1/);
    expect(() => widths("400,,3")).toThrow(InvalidArgumentError);
  });
});

describe("optimizers", () => {
  const parse = parseOptimizerOption;

  it("take settings, rates and schedules", () => {
    expect(parse("--optimizer", "adam:beta1=0.8,epsilon=1e-7")).toMatchObject({
      name: "adam",
      lr: 0.001,
      beta1: 0.8,
      epsilon: 1e-7,
    });
    expect(parse("--optimizer", "momentum:nesterov=true", { lr: 0.5 })).toMatchObject({ lr: 0.5, nesterov: true });
    expect(parse("--optimizer", "adagrad-shared").name).toBe("adagradShared");
    expect(parse("--optimizer", "sgd", { lr: 0.1, schedule: "cosine:total=100,floor=0.01", warmup: 10 }).lr).toEqual({
      kind: "warmup",
      warmup: 10,
      after: { kind: "cosine", lr: 0.1, total: 100, floor: 0.01 },
    });
    expect(parse("--optimizer", "adam", { schedule: "noam:dim=64,warmup=100" }).lr).toMatchObject({
      kind: "noam",
      factor: 1,
    });
    expect(parse("--optimizer", "adagrad").lr).toBe(0.02);
    expect(parse("--optimizer", "adagrad:lr=0.3").lr).toBe(0.3);
  });

  it.each([
    ["adan", {}, "did you mean adam?"],
    ["adam:beta3=1", {}, 'Unrecognized key: "beta3"\nallowed: lr, beta1, beta2, epsilon, weightDecay'],
    ["adam:beta1", {}, '"beta1" is no setting; write NAME:key=value'],
    ["adam:beta1=x", {}, '"beta1=x" is no setting'],
    ["adam:lr=1", { lr: 2 }, "--optimizer and --lr both give a rate"],
    ["adam", { schedule: "cosinus:total=3" }, "did you mean cosine?"],
    ["adam", { schedule: "cosine" }, "--schedule cosine needs total, as in --schedule cosine:total=…"],
    [
      "adam",
      { schedule: "cosine:totl=3" },
      '--schedule cosine has no "totl"; it takes total, floor; did you mean total?',
    ],
    ["adam", { schedule: "step:every=0.5,gamma=2" }, "positive whole numbers"],
    ["adam", { schedule: "noam:dim=16,warmup=9", lr: 1 }, "noam computes the rate itself"],
  ])("refuse %s %j", (text, rate, message) => {
    expect(() => parse("--optimizer", text, rate)).toThrow(UsageError);
    expect(() => parse("--optimizer", text, rate)).toThrow(message);
  });
});

describe("advice", () => {
  it("repeats the command as it was called", () => {
    expect(commandName({})).toBe("flotilla");
    expect(commandName({ npm_command: "exec", npm_lifecycle_event: "npx" })).toBe("npx flotilla");
    expect(commandName({ npm_command: "run", npm_lifecycle_event: "flotilla" })).toBe("npm run flotilla --");
  });

  it("quotes what a shell would split", () => {
    expect(shellWord("runs/a-1.2")).toBe("runs/a-1.2");
    expect(shellWord("runs/it's me")).toBe(`'runs/it'\\''s me'`);
  });

  it("speaks of options and of paths from here", () => {
    const message = `fit: ${process.cwd()}/a.tsv:3: bad; mend the line, or pass onBadLine: "skip" to leave such lines out`;
    expect(asTyped(message)).toBe("a.tsv:3: bad; mend the line, or give --on-bad-line skip to leave such lines out");
  });
});
