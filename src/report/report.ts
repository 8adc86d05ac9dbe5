// `report.html` of a run: one file that opens anywhere without a network, from the run's records, summary and config.
import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { type Chart, chartsOf } from "./charts.ts";
import { Html, html, jsonForScript } from "./html.ts";
import { page } from "./page.ts";
import type { ModelSummary, RunSummary } from "./records.ts";
import { type Run, readRun } from "./run-folder.ts";
import { STYLE } from "./style.ts";
import { formatCount, formatNumber, formatRate, formatSeconds } from "./units.ts";

/**
 * Writes `report.html` into the folder of a run from `metrics.jsonl`, `summary.json` and `config.json`, whichever are
 * there; a run that goes on may be reported again. Returns the report's path.
 * @throws when the folder has none of these files.
 */
export async function writeReport(folder: string): Promise<string> {
  const page = renderReport(await readRun(folder));
  const path = join(folder, "report.html");
  await writeFile(`${path}.tmp-${process.pid}`, page);
  await rename(`${path}.tmp-${process.pid}`, path);
  return path;
}

/** The report as text. */
export function renderReport(run: Run): string {
  const charts = chartsOf(run);
  const library = createRequire(import.meta.url).resolve("uplot/dist/uPlot.iife.min.js");
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="flotilla">
<title>${run.name} · flotilla</title>
<style>${new Html(readFileSync(join(library, "../uPlot.min.css"), "utf8"))}${new Html(STYLE)}</style>
</head>
<body>
<main>
<header><h1>${run.name}</h1><p>${subtitleOf(run)}</p></header>
${tilesOf(run)}
${switchOf(charts)}
${charts.length === 0 ? html`<p class="note">The run has no metrics yet.</p>` : html`<div class="grid">${charts.map(cardOf)}</div>`}
${comparisonOf(run)}
<div class="grid">${[pairsCard("Results", resultsOf(run)), pairsCard("Configuration", flatten(run.config))]}</div>
${eventsOf(run)}
<footer>${footerOf(run)}</footer>
</main>
<script type="application/json" id="charts">${jsonForScript(charts)}</script>
<script>${scriptText(readFileSync(library, "utf8"))}</script>
<script>${scriptText(`(${page.toString()})();`)}</script>
</body>
</html>
`.text;
}

function scriptText(code: string): Html {
  if (/<\/script|<!--/i.test(code)) throw new Error("a script of the report would end its own element");
  return new Html(code);
}

function subtitleOf({ summary }: Run): string {
  const threads = summary.threads;
  const parts = [
    summary.model,
    summary.engine,
    threads === undefined ? undefined : `${threads} ${threads === 1 ? "thread" : "threads"}`,
  ];
  return parts.filter((part) => part !== undefined).join(" · ");
}

function tilesOf(run: Run): Html {
  const { summary } = run;
  const last = run.evaluations.findLast(({ model }) => model === undefined);
  const end = run.train.at(-1);
  const samples = summary.samples ?? end?.samples;
  const seconds = summary.seconds ?? end?.seconds;
  const rate = summary.samplesPerSecond ?? (samples !== undefined && seconds ? samples / seconds : undefined);
  const tiles: (readonly [name: string, value: string, note?: string] | undefined)[] = [
    tile("AUC", summary.auc ?? last?.auc, (auc) => auc.toFixed(4), "held out"),
    tile("Log loss", summary.logLoss ?? last?.loss, (loss) => loss.toFixed(4), "held out"),
    tile("Calibration", summary.calibration ?? last?.calibration, (c) => c.toFixed(3), "prediction / label"),
    tile("Throughput", rate, formatRate, "samples a second"),
    tile("Samples", samples, formatCount, "trained on"),
    tile("Time", seconds, formatSeconds, "of training"),
  ];
  const shown = tiles.filter((tile) => tile !== undefined);
  if (shown.length === 0) return html``;
  return html`<dl class="tiles">${shown.map(([name, value, note]) => html`<div><dt>${name}</dt><dd>${value}<small>${note}</small></dd></div>`)}</dl>`;
}

function tile(
  name: string,
  value: number | undefined,
  format: (value: number) => string,
  note: string,
): readonly [string, string, string] | undefined {
  return typeof value === "number" && Number.isFinite(value) ? [name, format(value), note] : undefined;
}

function switchOf(charts: readonly Chart[]): Html {
  if (!charts.some(({ x }) => x.samples !== undefined)) return html``;
  return html`<div class="bar"><div class="switch" role="group" aria-label="Abscissa"><button type="button" data-abscissa="samples" aria-pressed="true">Samples</button><button type="button" data-abscissa="seconds" aria-pressed="false">Time</button></div></div>`;
}

function cardOf({ id, title, subtitle }: Chart): Html {
  return html`<section class="card"><h2>${title}</h2><p class="note">${subtitle}</p><div class="chart" id="chart-${id}" role="img" aria-label="${title}: ${subtitle}"></div></section>`;
}

function comparisonOf({ summary }: Run): Html {
  const models = summary.models ?? [];
  if (models.length < 2) return html``;
  const columns: readonly {
    name: string;
    value: (model: ModelSummary) => number | undefined;
    format: (v: number) => string;
  }[] = [
    { name: "AUC", value: ({ auc }) => auc, format: (v) => v.toFixed(4) },
    { name: "Log loss", value: ({ logLoss }) => logLoss, format: (v) => v.toFixed(4) },
    { name: "Samples/s", value: ({ samplesPerSecond }) => samplesPerSecond, format: formatCount },
    { name: "Parameters", value: ({ parameters }) => parameters, format: formatCount },
  ];
  const shown = columns.filter(({ value }) => models.some((model) => typeof value(model) === "number"));
  const best = models.reduce((a, b) => ((b.auc ?? -1) > (a.auc ?? -1) ? b : a));
  const row = (model: ModelSummary): Html =>
    html`<tr class="${model === best && best.auc !== undefined ? "best" : ""}"><td>${model.name}</td>${shown.map(
      ({ value, format }) => {
        const number = value(model);
        return html`<td class="n">${typeof number === "number" && Number.isFinite(number) ? format(number) : "–"}</td>`;
      },
    )}</tr>`;
  return html`<section class="card" style="margin-bottom: 20px"><h2>Models</h2><p class="note">on the same held-out data</p><div class="table-wrap"><table class="data"><thead><tr><th>Model</th>${shown.map(({ name }) => html`<th class="n">${name}</th>`)}</tr></thead><tbody>${models.map(row)}</tbody></table></div></section>`;
}

/** The summary's numbers and words, read by people; lists and objects flattened. */
function resultsOf({ summary }: Run): [string, string][] {
  const { name: _name, models: _models, ...rest } = summary;
  return flatten(rest satisfies RunSummary);
}

function pairsCard(title: string, pairs: readonly (readonly [string, string])[]): Html {
  if (pairs.length === 0) return html``;
  const rows = pairs.map(
    ([name, value]) => html`<tr><th scope="row"><code>${breakable(name)}</code></th><td>${value}</td></tr>`,
  );
  return html`<section class="card"><h2>${title}</h2><div class="table-wrap"><table class="data pairs"><tbody>${rows}</tbody></table></div></section>`;
}

/** A dotted name that may break after its dots. */
function breakable(name: string): Html[] {
  return name.split(".").map((part, i) => (i === 0 ? html`${part}` : html`.<wbr>${part}`));
}

/** Nested options as dotted names; lists of plain values stay on one line. */
function flatten(value: unknown, prefix = ""): [string, string][] {
  if (Array.isArray(value) && !value.some((item) => typeof item === "object" && item !== null)) {
    return [[prefix, value.map(textOf).join(", ") || "none"]];
  }
  if (typeof value !== "object" || value === null) return [[prefix, textOf(value)]];
  return Object.entries(value).flatMap(([key, item]) => flatten(item, prefix === "" ? key : `${prefix}.${key}`));
}

function textOf(value: unknown): string {
  if (typeof value === "number") {
    if (Math.abs(value) >= 10_000 && Math.abs(value) < 1e15) return Math.round(value).toLocaleString("en");
    return formatNumber(value, 5);
  }
  return value === null ? "–" : String(value);
}

function eventsOf({ events }: Run): Html {
  if (events.length === 0) return html``;
  const rows = events.map(
    ({ seconds, samples, message }) =>
      html`<tr><td class="n">${formatSeconds(seconds)}</td><td class="n">${formatCount(samples)}</td><td>${message}</td></tr>`,
  );
  return html`<section class="card"><h2>Events</h2><div class="table-wrap"><table class="data events"><thead><tr><th class="n">Time</th><th class="n">Samples</th><th></th></tr></thead><tbody>${rows}</tbody></table></div></section>`;
}

function footerOf({ files, badLines }: Run): Html[] {
  return [
    html`<span>Made by flotilla</span>`,
    ...files.map((file) => html`<a href="${file}">${file}</a>`),
    ...(badLines === 0
      ? []
      : [html`<span>${badLines} unreadable ${badLines === 1 ? "line" : "lines"} of metrics left out</span>`]),
  ];
}
