// `flotilla export`: a table of a checkpoint as one file.
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, extname } from "node:path";
import {
  exportTable,
  openTables,
  type SavedTables,
  type SaveRules,
  type TableFormat,
  tableFormats,
} from "../ps/saved/index.ts";
import { formatBytes, formatCount, formatSeconds, ProgressLine } from "../report/index.ts";
import { shown, withoutUndefined } from "./data-source.ts";
import { INTERRUPTED, watchInterrupts } from "./interrupt.ts";
import { checkpointOf, isRun, noSuchRun } from "./run-config.ts";
import { UsageError } from "./usage.ts";

export interface ExportFlags {
  readonly output: string;
  readonly table?: string;
  readonly fields?: readonly string[];
  readonly format?: TableFormat;
  readonly mode?: "all" | "base" | "delta" | "daily";
  readonly apply?: readonly string[];
  readonly verify: boolean;
  readonly quiet?: boolean;
  readonly score?: number;
  readonly deltaScore?: number;
  readonly keepUnseen?: number;
  readonly nonClick?: number;
  readonly click?: number;
}

/** Opens what a user names: a run, a checkpoint, or partitions. @throws UsageError when it is not there */
export async function openSaved(path: string, options: Parameters<typeof openTables>[1] = {}): Promise<SavedTables> {
  if (!existsSync(path)) throw noSuchRun(path);
  return openTables(isRun(path) ? checkpointOf(path) : path, options);
}

export async function exportCommand(path: string, flags: ExportFlags): Promise<number> {
  const { output, table, fields, mode = "all", apply = [], verify, quiet = false } = flags;
  const format = flags.format ?? formatOf(output);
  const rules = rulesOf(flags);
  if (apply.length > 0 && mode !== "all") throw new UsageError(`--apply is for --mode all, this is ${mode}`);
  if (!existsSync(dirname(output))) throw new UsageError(`--output: there is no folder ${dirname(output)}`);
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  const line = new ProgressLine();
  using interrupt = watchInterrupts(() => undefined);
  const show = (label: string, done: number, of: number): void => {
    interrupt.signal.throwIfAborted();
    if (!quiet) line.update({ label, samples: done, totalSamples: of, samplesPerSecond: done / seconds() });
  };
  try {
    await using saved = await openSaved(path, {
      verify,
      onProgress: ({ bytes, totalBytes }) => show("check", bytes, totalBytes),
    });
    await using opened = new AsyncDisposableStack();
    const deltas: SavedTables[] = [];
    for (const delta of apply) deltas.push(opened.use(await openSaved(delta, { verify })));
    const exported = await exportTable(saved, {
      ...{ file: output, format, mode, rules, deltas, onProgress: (rows, of) => show("export", rows, of) },
      ...withoutUndefined({ table, columns: fields }),
    });
    line.finish();
    const { size } = await stat(output);
    console.log(
      `${formatCount(exported.rows)} rows of ${exported.table} → ${shown(output)}: ${exported.columns.join(", ")}, ${formatBytes(size)} in ${formatSeconds(seconds())}`,
    );
    return 0;
  } catch (error) {
    if (interrupt.signal.aborted) return INTERRUPTED;
    throw error;
  }
}

function formatOf(output: string): TableFormat {
  const format = tableFormats.find((name) => extname(output).toLowerCase() === `.${name}`);
  if (format !== undefined) return format;
  throw new UsageError(`--output: ${output} ends neither in .parquet nor in .safetensors; say --format`);
}

/** @throws UsageError for thresholds that the mode does not go by */
function rulesOf({ mode = "all", score, deltaScore, keepUnseen, nonClick, click }: ExportFlags): Partial<SaveRules> {
  const rules = withoutUndefined({ saveScore: score, deltaScore, keepUnseen, nonClick, click });
  const filtered = mode === "base" || mode === "delta";
  if (!filtered && Object.keys(rules).length > 0) {
    throw new UsageError(`thresholds such as --score are for --mode base and delta; mode ${mode} exports all rows`);
  }
  if (mode === "base" && deltaScore !== undefined) throw new UsageError("--delta-score is for --mode delta");
  return rules;
}
