// From a run's records to what the charts draw: plain columns of numbers, thinned so that a report stays small however
// long the run was.
import type { CalibrationPoint, EvaluationRecord, MetricsRecord, TrainRecord } from "./records.ts";
import type { Run } from "./run-folder.ts";

/** Names a colour of the page. */
export type SeriesStyle = "faint" | "line" | "points" | "reference";

export interface ChartSeries {
  readonly label: string;
  readonly style: SeriesStyle;
  /** Which of the page's colours. */
  readonly color: number;
  readonly values: readonly (number | null)[];
}

export interface Chart {
  readonly id: string;
  readonly title: string;
  readonly subtitle: string;
  /** Abscissae by name; charts over training have `samples` and `seconds`. */
  readonly x: Readonly<Record<string, readonly number[]>>;
  readonly xLabel: string;
  /** How numbers of the y axis read. */
  readonly unit: "number" | "rate" | "probability" | "small";
  readonly series: readonly ChartSeries[];
}

const MAX_POINTS = 1500;

type Field<T> = (record: T) => number | null | undefined;

/** The charts for which the run has data. */
export function chartsOf(run: Run): Chart[] {
  const train = thin(run.train);
  const main = run.evaluations.filter(({ model }) => model === undefined);
  const charts = [
    trainingChart(train, main, {
      id: "loss",
      title: "Loss",
      subtitle: "mean over each window, and held out",
      unit: "number",
      label: "loss",
      train: ({ loss }) => loss,
      evaluation: ({ loss }) => loss,
    }),
    trainingChart(train, main, {
      id: "auc",
      title: "AUC",
      subtitle: "over each window, and held out",
      unit: "number",
      label: "AUC",
      train: ({ auc }) => auc,
      evaluation: ({ auc }) => auc,
    }),
    trainingChart(train, [], {
      id: "throughput",
      title: "Throughput",
      subtitle: "samples a second",
      unit: "rate",
      label: "samples/s",
      train: ({ samplesPerSecond }) => samplesPerSecond,
      evaluation: () => undefined,
    }),
    calibrationChart(run),
    trainingChart(variesIn(train, ({ learningRate }) => learningRate) ? train : [], [], {
      id: "learning-rate",
      title: "Learning rate",
      subtitle: "as scheduled",
      unit: "small",
      label: "learning rate",
      train: ({ learningRate }) => learningRate,
      evaluation: () => undefined,
    }),
  ];
  return charts.filter((chart) => chart !== undefined);
}

/** Every chart's values at the records' samples and seconds; a run without a field has no such chart. */
function trainingChart(
  train: readonly TrainRecord[],
  evaluations: readonly EvaluationRecord[],
  chart: Pick<Chart, "id" | "title" | "subtitle" | "unit"> & {
    label: string;
    train: Field<TrainRecord>;
    evaluation: Field<EvaluationRecord>;
  },
): Chart | undefined {
  const points = merged([
    ...train.map((record) => ({ ...placeOf(record), train: finite(chart.train(record)), evaluation: null })),
    ...evaluations.map((record) => ({ ...placeOf(record), train: null, evaluation: finite(chart.evaluation(record)) })),
  ]);
  const window = points.map((point) => point.train);
  const heldOut = points.map((point) => point.evaluation);
  const series: ChartSeries[] = [];
  if (window.some((value) => value !== null)) {
    const smooth = smoothed(window);
    const rough = chart.id !== "learning-rate" && window.filter((value) => value !== null).length > 20;
    if (rough) series.push({ label: "window", style: "faint", color: 0, values: window });
    series.push({ label: rough ? "smoothed" : chart.label, style: "line", color: 0, values: rough ? smooth : window });
  }
  if (heldOut.some((value) => value !== null)) {
    series.push({ label: "held out", style: "points", color: 1, values: heldOut });
  }
  if (series.length === 0) return undefined;
  const { id, title, subtitle, unit } = chart;
  const x = {
    samples: points.map(({ samples }) => samples),
    seconds: points.map(({ seconds }) => seconds),
  };
  return { id, title, subtitle, unit, x, xLabel: "samples", series };
}

interface Point {
  readonly samples: number;
  readonly seconds: number;
  readonly train: number | null;
  readonly evaluation: number | null;
}

function placeOf({ samples, seconds }: MetricsRecord): { samples: number; seconds: number } {
  return { samples, seconds };
}

/** In order, one point a place: a chart needs rising abscissae. */
function merged(points: Point[]): Point[] {
  const result: Point[] = [];
  for (const point of points.sort((a, b) => a.samples - b.samples || a.seconds - b.seconds)) {
    const last = result.at(-1);
    if (last === undefined) result.push(point);
    else if (last.samples !== point.samples) result.push({ ...point, seconds: Math.max(last.seconds, point.seconds) });
    else {
      const { samples, seconds } = last;
      result[result.length - 1] = {
        samples,
        seconds,
        train: point.train ?? last.train,
        evaluation: point.evaluation ?? last.evaluation,
      };
    }
  }
  return result;
}

function calibrationChart(run: Run): Chart | undefined {
  const lines: { label: string; bins: readonly CalibrationPoint[] }[] = [];
  const last = run.evaluations.findLast(({ model, bins }) => model === undefined && bins !== undefined);
  if (last?.bins !== undefined) lines.push({ label: textOr(run.summary.model, "model"), bins: last.bins });
  for (const { name, bins } of run.summary.models ?? []) {
    if (bins !== undefined && !lines.some(({ label }) => label === name)) lines.push({ label: name, bins });
  }
  const points = lines
    .flatMap(({ bins }, line) => bins.map((bin) => ({ line, ...bin })))
    .filter(({ prediction, label }) => Number.isFinite(prediction) && Number.isFinite(label))
    .sort((a, b) => a.prediction - b.prediction);
  if (points.length === 0) return undefined;
  const end = Math.min(1, Math.max(...points.map(({ prediction, label }) => Math.max(prediction, label))) * 1.05);
  const ends = { line: -1, prediction: Number.NaN, label: Number.NaN };
  const all = [{ ...ends, prediction: 0 }, ...points, { ...ends, prediction: end }];
  return {
    id: "calibration",
    title: "Calibration",
    subtitle: "observed frequency by mean prediction, bins of equal weight",
    unit: "probability",
    x: { prediction: all.map(({ prediction }) => prediction) },
    xLabel: "prediction",
    series: [
      { label: "calibrated", style: "reference", color: 2, values: all.map(({ prediction }) => prediction) },
      ...lines.map(({ label }, line) => ({
        label,
        style: "points" as const,
        // Colour 2 is the reference's.
        color: line < 2 ? line : 3 + ((line - 2) % 3),
        values: all.map((point) => (point.line === line ? point.label : null)),
      })),
    ],
  };
}

/** At most MAX_POINTS records: the means over runs of neighbours, at the place of the last. */
export function thin(records: readonly TrainRecord[]): TrainRecord[] {
  const group = Math.ceil(records.length / MAX_POINTS);
  if (group <= 1) return [...records];
  const mean = (part: readonly TrainRecord[], field: Field<TrainRecord>): number => {
    const values = part.map(field).filter((value) => finite(value) !== null) as number[];
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  };
  return Array.from({ length: Math.ceil(records.length / group) }, (_, i) => {
    const part = records.slice(i * group, (i + 1) * group);
    return {
      ...part.at(-1)!,
      loss: mean(part, ({ loss }) => loss),
      auc: mean(part, ({ auc }) => auc),
      samplesPerSecond: mean(part, ({ samplesPerSecond }) => samplesPerSecond),
    };
  });
}

/** Means over a fortieth of the curve around each value: centred, so that the curve does not lag behind its steep start. */
function smoothed(values: readonly (number | null)[]): (number | null)[] {
  const present = values.filter((value) => value !== null);
  const half = Math.max(1, Math.round(present.length / 80));
  let at = 0;
  return values.map((value) => {
    if (value === null) return null;
    const part = present.slice(Math.max(0, at - half), at + Math.min(half, at) + 1);
    at++;
    return part.reduce((sum, x) => sum + x, 0) / part.length;
  });
}

function variesIn<T>(records: readonly T[], field: Field<T>): boolean {
  return new Set(records.map(field).filter((value) => finite(value) !== null)).size > 1;
}

function finite(value: number | null | undefined): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === "string" ? value : otherwise;
}
