// The report's own script: draws the charts from the embedded data, follows the window's size and the system's light or
// dark, and switches the abscissa between samples and time. It runs in the reader's browser as the text of one function.
import type { Chart, ChartSeries } from "./charts.ts";

interface PageElement {
  readonly textContent: string;
  readonly clientWidth: number;
  readonly dataset: Record<string, string>;
  setAttribute(name: string, value: string): void;
  addEventListener(type: string, listener: () => void): void;
}
interface Plot {
  readonly data: readonly Column[];
  destroy(): void;
  setSize(size: { width: number; height: number }): void;
}
type Column = readonly (number | null)[];
type Range = [min: number, max: number];

declare const document: {
  readonly documentElement: PageElement;
  getElementById(id: string): PageElement | null;
  querySelectorAll(selector: string): Iterable<PageElement>;
};
declare function getComputedStyle(element: PageElement): { getPropertyValue(name: string): string };
declare function matchMedia(query: string): PageElement;
declare function addEventListener(type: string, listener: () => void): void;
declare const uPlot: new (options: object, data: readonly Column[], parent: PageElement) => Plot;

/** Must not refer to anything outside of itself but the browser and uPlot: only its own text goes into the page. */
export function page(): void {
  const HEIGHT = 250;
  const charts: Chart[] = JSON.parse(document.getElementById("charts")!.textContent);
  let abscissa = "samples";
  let plots: { plot: Plot; element: PageElement }[] = [];

  const color = (name: string): string =>
    getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const digits = (value: number, count: number): string => String(Number(value.toPrecision(count)));

  function compact(value: number): string {
    const scales: [string, number][] = [
      ["G", 1e9],
      ["M", 1e6],
      ["k", 1e3],
    ];
    const scale = scales.find(([, size]) => Math.abs(value) >= size);
    return scale === undefined ? digits(value, 4) : `${digits(value / scale[1], 4)} ${scale[0]}`;
  }

  function time(seconds: number): string {
    if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
    const minutes = Math.floor(seconds / 60);
    const rest = Math.floor(seconds % 60);
    if (minutes < 60) return rest === 0 ? `${minutes} m` : `${minutes} m ${rest} s`;
    return `${Math.floor(minutes / 60)} h ${minutes % 60} m`;
  }

  const exact: Record<Chart["unit"], (value: number) => string> = {
    number: (value) => value.toFixed(4),
    rate: (value) => `${compact(value)}/s`,
    probability: (value) => value.toFixed(4),
    small: (value) => digits(value, 3),
  };

  const numbers = (values: Column): number[] => values.filter((value) => value !== null);

  function spread(low: number, high: number): Range {
    const margin = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    return [low - margin, high + margin];
  }

  /** A wild start must not flatten the rest of a curve: of windows, the middle 97 % are sure to be seen. */
  function rangeOf(chart: Chart): Range {
    const windows = chart.series.filter(({ style }) => style === "faint" || style === "line");
    const sorted = windows.flatMap(({ values }) => numbers(values)).sort((a, b) => a - b);
    const sure = chart.series.filter((series) => !windows.includes(series)).flatMap(({ values }) => numbers(values));
    const cut = sorted.length > 40 && chart.unit === "number" ? Math.ceil(sorted.length * 0.015) : 0;
    const middle = sorted.slice(cut, sorted.length - cut);
    const all = [...middle.slice(0, 1), ...middle.slice(-1), ...sure];
    const low = Math.min(...all);
    const high = Math.max(...all);
    return chart.unit === "rate" ? [0, spread(0, high)[1]] : spread(low, high);
  }

  /** The place nearest to `index` where a column has a value: held-out points lie between the windows. */
  function nearest(values: Column, index: number): number {
    for (let distance = 0; distance < values.length; distance++) {
      if (typeof values[index - distance] === "number") return index - distance;
      if (typeof values[index + distance] === "number") return index + distance;
    }
    return index;
  }

  function seriesOptions(series: ChartSeries, chart: Chart): object {
    const stroke = color(`c${series.color}`);
    const value = (_plot: Plot, y: number | null): string => {
      const shown = typeof y === "number" ? y : numbers(series.values).at(-1);
      return shown === undefined ? "–" : exact[chart.unit](shown);
    };
    const common = { label: series.label, stroke, value, spanGaps: true };
    switch (series.style) {
      case "faint":
        return { ...common, stroke: `${stroke}55`, width: 1, points: { show: false } };
      case "line":
        return { ...common, width: 2, points: { show: false } };
      case "points":
        return {
          ...common,
          width: 1.5,
          points: { show: true, size: 8, fill: stroke, stroke: color("card"), width: 1.5 },
        };
      case "reference":
        return { ...common, value: (): string => "", width: 1.5, dash: [4, 5], points: { show: false } };
      default:
        return series.style satisfies never;
    }
  }

  function markerColor({ color: index, style }: ChartSeries): string {
    return color(`c${index}`) + (style === "faint" ? "66" : "");
  }

  function draw(chart: Chart, element: PageElement): Plot {
    const training = chart.x.samples !== undefined;
    const timed = training && abscissa === "seconds";
    const x = (training ? chart.x[abscissa] : Object.values(chart.x)[0])!;
    const readX = training ? (timed ? time : compact) : (value: number): string => value.toFixed(4);
    const tickX = training ? readX : (value: number): string => digits(value, 6);
    const tickY = chart.unit === "rate" ? compact : (value: number): string => digits(value, 6);
    const wholeX: Range = [0, Math.max(...x) || 1];
    const wholeY = rangeOf(chart);
    let zoomed = false;
    // uPlot asks for x before y: with the whole data at first, with the selection when the reader zooms in.
    const rangeX = (_plot: Plot, low: number | null, high: number | null): Range => {
      zoomed = low !== null && high !== null && (low !== x[0] || high !== x.at(-1));
      return zoomed ? [low!, high!] : wholeX;
    };
    const rangeY = (_plot: Plot, low: number | null, high: number | null): Range =>
      zoomed && low !== null && high !== null ? spread(low, high) : wholeY;
    const axis = {
      stroke: color("soft"),
      font: "12px system-ui, sans-serif",
      grid: { stroke: color("grid"), width: 1 },
      ticks: { show: false },
    };
    const hour = 3600;
    const timeSteps = [
      ...[0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800],
      ...[1, 2, 4, 8, 24, 48, 168, 720].map((hours) => hours * hour),
    ];
    return new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        padding: [10, 14, 0, 0],
        cursor: {
          ...(training ? { sync: { key: "training" } } : {}),
          y: false,
          points: { size: 8 },
          dataIdx: (plot: Plot, series: number, index: number): number =>
            series === 0 ? index : nearest(plot.data[series]!, index),
        },
        legend: {
          markers: { width: 0, fill: (_plot: Plot, i: number): string => markerColor(chart.series[i - 1]!) },
        },
        scales: { x: { time: false, range: rangeX }, y: { range: rangeY } },
        axes: [
          {
            ...axis,
            size: 32,
            space: 80,
            ...(timed ? { incrs: timeSteps } : {}),
            values: (_plot: Plot, ticks: number[]): string[] => ticks.map(tickX),
          },
          { ...axis, size: 52, gap: 8, values: (_plot: Plot, ticks: number[]): string[] => ticks.map(tickY) },
        ],
        series: [
          {
            label: timed ? "time" : chart.xLabel,
            value: (_plot: Plot, value: number | null): string => readX(typeof value === "number" ? value : x.at(-1)!),
          },
          ...chart.series.map((series) => seriesOptions(series, chart)),
        ],
      },
      [x, ...chart.series.map(({ values }) => values)],
      element,
    );
  }

  function drawAll(): void {
    for (const { plot } of plots) plot.destroy();
    plots = charts.map((chart) => {
      const element = document.getElementById(`chart-${chart.id}`)!;
      return { plot: draw(chart, element), element };
    });
  }

  for (const button of document.querySelectorAll("[data-abscissa]")) {
    button.addEventListener("click", () => {
      abscissa = button.dataset.abscissa!;
      for (const other of document.querySelectorAll("[data-abscissa]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      drawAll();
    });
  }
  addEventListener("resize", () => {
    for (const { plot, element } of plots) {
      plot.setSize({ width: element.clientWidth, height: HEIGHT });
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  drawAll();
}
