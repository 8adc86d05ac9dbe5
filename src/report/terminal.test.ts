// What the terminal shows: units, tables and the progress line, on a terminal and in a log.
import { Writable } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ProgressLine, type ProgressState, renderProgress } from "./progress.ts";
import { formatTable, widthOf } from "./table.ts";
import { formatBytes, formatCount, formatNumber, formatRate, formatSeconds } from "./units.ts";

describe("units", () => {
  test.each<[string, string]>([
    [formatCount(0), "0"],
    [formatCount(950), "950"],
    [formatCount(999.6), "1.0 k"],
    [formatCount(35_123), "35.1 k"],
    [formatCount(123_456), "123 k"],
    [formatCount(999_600), "1.0 M"],
    [formatCount(1_240_000), "1.2 M"],
    [formatCount(-2.7e9), "-2.7 G"],
    [formatCount(Number.NaN), "–"],
    [formatRate(35_123), "35.1 k/s"],
    [formatRate(150.4), "150 /s"],
    [formatRate(0.5), "0.5 /s"],
    [formatBytes(512), "512 B"],
    [formatBytes(4.2e9), "4.2 GB"],
    [formatSeconds(0.0453), "45 ms"],
    [formatSeconds(0.9996), "1.0 s"],
    [formatSeconds(3.21), "3.2 s"],
    [formatSeconds(9.96), "10 s"],
    [formatSeconds(59.6), "1 m 00 s"],
    [formatSeconds(80), "1 m 20 s"],
    [formatSeconds(3599.7), "1 h 00 m"],
    [formatSeconds(7500), "2 h 05 m"],
    [formatSeconds(86_400 * 3 + 3600 * 4), "3 d 04 h"],
    [formatSeconds(Number.POSITIVE_INFINITY), "–"],
    [formatNumber(0.742134), "0.7421"],
    [formatNumber(12.34567), "12.35"],
    [formatNumber(123456.7), "123457"],
    [formatNumber(1e-7), "1e-7"],
    [formatNumber(0), "0"],
    [formatNumber(Number.NEGATIVE_INFINITY), "-∞"],
  ])("%s is %s", (found, expected) => expect(found).toBe(expected));
});

describe("tables", () => {
  test("text to the left, numbers to the right, gaps as dashes", () => {
    const rows = [
      { model: "DeepFM", threads: 2, "rows/s": "98.2 k/s", AUC: 0.742134 },
      { model: "logistic", threads: 12, "rows/s": "1.2 M/s", note: "two\nlines" },
    ];
    expect(formatTable(rows, { title: "Results" })).toBe(
      [
        "Results",
        "┌──────────┬─────────┬──────────┬────────┬───────────┐",
        "│ model    │ threads │   rows/s │    AUC │ note      │",
        "├──────────┼─────────┼──────────┼────────┼───────────┤",
        "│ DeepFM   │       2 │ 98.2 k/s │ 0.7421 │ –         │",
        "│ logistic │      12 │  1.2 M/s │      – │ two lines │",
        "└──────────┴─────────┴──────────┴────────┴───────────┘",
      ].join("\n"),
    );
    expect(formatTable(rows, { columns: ["AUC"] }).split("\n")[3]).toBe("│ 0.7421 │");
  });

  test("lines are of one width, whatever is in them", () => {
    const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom("日本語", "\x1b[1mbold\x1b[0m", "é", "🚢"));
    const rows = fc.array(fc.record({ a: text, b: fc.oneof(fc.double(), fc.boolean(), fc.constant(null)) }), {
      maxLength: 5,
    });
    fc.assert(
      fc.property(rows, (rows) => {
        const widths = formatTable(rows, { columns: ["a", "b"] })
          .split("\n")
          .map(widthOf);
        expect(new Set(widths).size).toBe(1);
      }),
    );
  });
});

const state: ProgressState = {
  label: "train",
  samples: 1_560_000,
  totalSamples: 3_000_000,
  samplesPerSecond: 98_211,
  loss: 0.43121,
  auc: 0.74213,
  note: "epoch 1/2",
};

describe("the progress line", () => {
  test("says all that there is room for", () => {
    expect(renderProgress(state, { columns: 120, color: false })).toBe(
      "train  ━━━━━━━━━━━━╸───────────  52 %  1.6 M/3.0 M  98.2 k/s  loss 0.4312  auc 0.7421  eta 15 s  epoch 1/2",
    );
    expect(
      renderProgress(
        { label: "evaluate", samples: 950, samplesPerSecond: 0, auc: Number.NaN },
        { columns: 80, color: false },
      ),
    ).toBe("evaluate  950  0 /s");
    expect(renderProgress({ ...state, samples: 3_000_001 }, { columns: 80, color: false })).not.toContain("eta");
  });

  test("fits into any terminal, with and without colour", () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: 12, max: 200 }), fc.boolean(), share, (columns, color, share) => {
        const line = renderProgress({ ...state, samples: Math.round(share * 3e6) }, { columns, color });
        expect(widthOf(line)).toBeLessThan(columns);
        if (columns >= 80) expect(stripVTControlCharacters(line)).toMatch(/loss 0.4312 {2}auc 0.7421/);
      }),
    );
  });

  test("on a terminal is redrawn in place; what is logged stays above", () => {
    const { stream, text } = sink({ isTTY: true, columns: 60 });
    const line = new ProgressLine({ stream, color: false });
    line.update({ label: "a", samples: 1, samplesPerSecond: 1 });
    line.log("hello");
    line.update({ label: "b", samples: 2, samplesPerSecond: 1 });
    line.finish("done");
    expect(text().replaceAll("\r\x1b[2K", "<")).toBe("<a  1  1 /s<hello\n<a  1  1 /s<b  2  1 /s<done\n");
  });

  test("in a log is a plain line every interval, and the last state at the end", () => {
    const { stream, text } = sink({});
    let now = 0;
    const line = new ProgressLine({ stream, intervalSeconds: 5, now: () => now });
    for (; now < 12; now++) line.update({ ...state, samples: 100_000 * now });
    line.finish();
    const lines = text().trimEnd().split("\n");
    expect(lines.map((line) => line.match(/\d+ %/)![0])).toEqual(["0 %", "16 %", "33 %", "36 %"]);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a log must not hold escape sequences
    expect(text()).not.toMatch(/[\x1b\r━─]/);
  });
});

function sink(options: { isTTY?: boolean; columns?: number }): { stream: Writable; text: () => string } {
  let written = "";
  const stream = new Writable({
    write(chunk, _encoding, done): void {
      written += chunk;
      done();
    },
  });
  return { stream: Object.assign(stream, options), text: () => written };
}
