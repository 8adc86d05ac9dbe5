// Reports: whatever a run left behind gives a page whose data is right, whose text is escaped and whose script runs.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Script } from "node:vm";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Chart } from "./charts.ts";
import { writeReport } from "./report.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "flotilla-report-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const train = (i: number): object => ({
  type: "train",
  step: i * 10,
  samples: i * 5120,
  seconds: i / 2,
  samplesPerSecond: 10_240,
  loss: 1 / i,
  auc: 0.7 + i / 1000,
  learningRate: 0.05,
});
const bins = [
  { prediction: 0.1, label: 0.12, weight: 50 },
  { prediction: 0.4, label: 0.38, weight: 50 },
];
const evaluation = {
  type: "evaluation",
  step: 30,
  samples: 15_360,
  seconds: 1.6,
  loss: 0.5,
  auc: 0.71,
  calibration: 1.02,
  bins,
};

function writeRun(files: { metrics?: (object | string)[]; summary?: object; config?: object }): void {
  const lines = files.metrics?.map((record) => (typeof record === "string" ? record : JSON.stringify(record)));
  if (lines !== undefined) writeFileSync(join(folder, "metrics.jsonl"), lines.join("\n"));
  if (files.summary !== undefined) writeFileSync(join(folder, "summary.json"), JSON.stringify(files.summary));
  if (files.config !== undefined) writeFileSync(join(folder, "config.json"), JSON.stringify(files.config));
}

async function report(): Promise<{ page: string; charts: Chart[]; scripts: string[]; chart(id: string): Chart }> {
  const page = readFileSync(await writeReport(folder), "utf8");
  const elements = [...page.matchAll(/<script([^>]*)>([\s\S]*?)<\/script>/g)];
  const charts: Chart[] = JSON.parse(elements.find(([, attributes]) => attributes!.includes("json"))![2]!);
  const scripts = elements.filter(([, attributes]) => !attributes!.includes("json")).map(([, , text]) => text!);
  return { page, charts, scripts, chart: (id) => charts.find((chart) => chart.id === id)! };
}

describe("a whole run", () => {
  beforeEach(() =>
    writeRun({
      metrics: [
        train(1),
        train(2),
        train(3),
        evaluation,
        { type: "event", step: 30, samples: 15_360, seconds: 1.7, message: "saved" },
      ],
      summary: {
        name: "demo",
        model: "DeepFM",
        engine: "wasm",
        threads: 2,
        samples: 15_360,
        seconds: 80,
        samplesPerSecond: 35_123,
        auc: 0.73684,
        logLoss: 0.4745,
        models: [
          { name: "DeepFM", auc: 0.73684, logLoss: 0.4745 },
          { name: "logistic", auc: 0.7121, logLoss: 0.4861, bins },
        ],
      },
      config: { optimizer: { kind: "adagrad", lr: 0.05 }, hidden: [400, 400], seed: null },
    }),
  );

  test("stands on its own: one file that asks for nothing from outside", async () => {
    const { page } = await report();
    expect(page).not.toMatch(/<(?:link|img|iframe)|\ssrc=|@import|url\(/);
    expect(readdirSync(folder).sort()).toEqual(["config.json", "metrics.jsonl", "report.html", "summary.json"]);
  });

  test("charts hold the records, windows and evaluations at their places", async () => {
    const { charts, chart } = await report();
    expect(charts.map(({ id }) => id)).toEqual(["loss", "auc", "throughput", "calibration"]);
    expect(chart("loss").x).toEqual({ samples: [5120, 10_240, 15_360], seconds: [0.5, 1, 1.5] });
    expect(chart("loss").series).toMatchObject([
      { label: "loss", values: [1, 0.5, 1 / 3] },
      { label: "held out", values: [null, null, 0.5] },
    ]);
    expect(chart("throughput").series[0]!.values).toEqual([10_240, 10_240, 10_240]);
    expect(chart("calibration").x.prediction!.slice(0, -1)).toEqual([0, 0.1, 0.1, 0.4, 0.4]);
    expect(chart("calibration").series.map(({ label }) => label)).toEqual(["calibrated", "DeepFM", "logistic"]);
    expect(chart("calibration").series[1]!.values).toEqual([null, 0.12, null, 0.38, null, null]);
  });

  test("figures, models, configuration and events read as people write them", async () => {
    const { page } = await report();
    const text = page
      .replaceAll(/<script[\s\S]*?<\/script>|<style[\s\S]*?<\/style>/g, "")
      .replaceAll(/<wbr>/g, "")
      .replaceAll(/<[^>]*>/g, "|");
    for (const part of ["0.7368|held out", "35.1 k/s", "1 m 20 s", "DeepFM · wasm · 2 threads"])
      expect(text).toContain(part);
    expect(text).toMatch(/optimizer\.lr\|+0\.05/);
    expect(text).toMatch(/hidden\|+400, 400/);
    expect(text).toMatch(/seed\|+–/);
    expect(text).toMatch(/1\.7 s\|+15\.4 k\|+saved/);
    expect(page).toMatch(/<tr class="best"><td>DeepFM<\/td>/);
  });

  test("the page's script draws every chart with its data, again when the abscissa changes", async () => {
    const { charts, scripts } = await report();
    const drawn = runPage(charts, scripts.at(-1)!);
    expect(drawn.plots.map(({ data }) => data[0])).toEqual(charts.map(({ x }) => x.samples ?? x.prediction));
    expect(drawn.plots.map(({ data }) => data.slice(1))).toEqual(
      charts.map(({ series }) => series.map(({ values }) => values)),
    );
    drawn.listeners.click!();
    expect(drawn.plots.slice(charts.length).map(({ data }) => data[0])).toEqual(
      charts.map(({ x }) => x.seconds ?? x.prediction),
    );
  });
});

/** Runs the page's script against the least of a browser, and asks uPlot's callbacks as uPlot does. */
function runPage(
  charts: Chart[],
  script: string,
): { plots: { data: unknown[] }[]; listeners: Record<string, () => void> } {
  const plots: { data: unknown[] }[] = [];
  const listeners: Record<string, () => void> = {};
  const element = {
    textContent: JSON.stringify(charts),
    clientWidth: 500,
    dataset: { abscissa: "seconds" },
    setAttribute: (): void => {},
    addEventListener: (type: string, listener: () => void): void => {
      listeners[type] = listener;
    },
  };
  class Plot {
    readonly data: (number | null)[][];
    constructor(options: PlotOptions, data: (number | null)[][]) {
      this.data = data;
      plots.push(this);
      const [first, last] = [data[0]![0]!, data[0]!.at(-1)!];
      const [low, high] = options.scales.x.range(this, first, last);
      expect(low).toBeLessThanOrEqual(first);
      expect(high).toBeGreaterThanOrEqual(last);
      const [bottom, top] = options.scales.y.range(this, null, null);
      expect(top).toBeGreaterThan(bottom);
      for (const axis of options.axes) expect(axis.values(this, [0, 0.25, 1500, 2e6])).toHaveLength(4);
      for (const [i, series] of options.series.entries()) {
        expect(series.value(this, null)).toBeTypeOf("string");
        if (i > 0) expect(this.data[i]![options.cursor.dataIdx(this, i, 0)]).toBeTypeOf("number");
        if (i > 0) expect(options.legend.markers.fill(this, i)).toMatch(/^#123/);
      }
    }
    destroy(): void {}
  }
  new Script(script).runInNewContext({
    document: { documentElement: element, getElementById: () => element, querySelectorAll: () => [element] },
    getComputedStyle: () => ({ getPropertyValue: () => " #123456" }),
    matchMedia: () => ({ addEventListener: () => {} }),
    addEventListener: () => {},
    uPlot: Plot,
  });
  return { plots, listeners };
}

interface PlotOptions {
  scales: Record<"x" | "y", { range(plot: unknown, low: number | null, high: number | null): [number, number] }>;
  axes: { values(plot: unknown, ticks: number[]): string[] }[];
  series: { value(plot: unknown, value: null): string }[];
  cursor: { dataIdx(plot: unknown, series: number, index: number): number };
  legend: { markers: { fill(plot: unknown, series: number): string } };
}

describe("what is written by others is text, never markup", () => {
  const hostile = "</script><script>alert(1)</script><!-- & \"' \u2028";

  test("in names, options, results, models and events", async () => {
    writeRun({
      metrics: [
        train(1),
        { ...evaluation, bins },
        { type: "event", step: 1, samples: 1, seconds: 1, message: hostile },
      ],
      summary: {
        name: hostile,
        model: hostile,
        extra: { [hostile]: hostile },
        models: [{ name: hostile, auc: 1, bins }, { name: "b" }],
      },
      config: { [hostile]: [hostile], x: { y: hostile } },
    });
    const { page, charts, scripts } = await report();
    expect(page.match(/<script/g)).toHaveLength(3);
    expect(page.match(/alert\(1\)/g)!.length).toBeGreaterThan(5);
    expect(page.match(/<!--/g)).toBeNull();
    expect(scripts.every((script) => !script.includes("alert(1)"))).toBe(true);
    expect(charts.find(({ id }) => id === "calibration")!.series[1]!.label).toBe(hostile);
    for (const script of scripts) expect(() => new Script(script)).not.toThrow();
  });
});

describe("a run in pieces", () => {
  test("without evaluation, summary and config", async () => {
    writeRun({ metrics: [train(1), train(2)] });
    const { charts, chart, scripts } = await report();
    expect(charts.map(({ id }) => id)).toEqual(["loss", "auc", "throughput"]);
    expect(chart("loss").series).toHaveLength(1);
    runPage(charts, scripts.at(-1)!);
  });

  test("with one record, or only evaluations", async () => {
    for (const record of [train(1), evaluation]) {
      writeRun({ metrics: [record] });
      const { charts, scripts } = await report();
      expect(charts.length).toBeGreaterThan(2);
      runPage(charts, scripts.at(-1)!);
    }
  });

  test("with a line cut off, unknown records and values that are no numbers", async () => {
    const diverged = { ...train(2), loss: null, auc: null };
    writeRun({ metrics: [train(1), diverged, { type: "later", x: 1 }, "null", '{"type":"train","step":3,"sam'] });
    const { page, chart } = await report();
    expect(chart("loss").series[0]!.values).toEqual([1, null]);
    expect(page).toContain("1 unreadable line of metrics left out");
  });

  test("with a summary alone", async () => {
    writeRun({ summary: { auc: 0.7, note: "x" } });
    const { page, charts } = await report();
    expect(charts).toEqual([]);
    expect(page).toContain("The run has no metrics yet.");
    expect(page).toContain("0.7000");
  });

  test("a folder that is no run, and a damaged summary, are refused", async () => {
    await expect(writeReport(folder)).rejects.toThrow(
      /is no run folder: it has no metrics.jsonl, summary.json or config.json/,
    );
    writeFileSync(join(folder, "summary.json"), "[");
    await expect(writeReport(folder)).rejects.toThrow(/summary.json must hold a JSON object; it is damaged/);
  });

  test("a long run stays a small report, its means kept", async () => {
    const count = 40_000;
    writeRun({ metrics: Array.from({ length: count }, (_, i) => ({ ...train(i + 1), loss: i % 2, learningRate: i })) });
    const { page, chart } = await report();
    expect(page.length).toBeLessThan(400_000);
    expect(chart("loss").x.samples!.length).toBeLessThanOrEqual(1500);
    expect(chart("loss").x.samples!.at(-1)).toBe(count * 5120);
    for (const value of chart("loss").series[1]!.values) expect(Math.abs(value! - 0.5)).toBeLessThan(0.02);
    expect(chart("learning-rate").series).toHaveLength(1);
  });
});
